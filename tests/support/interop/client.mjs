// Makes requests with Node's own clients: node interop.mjs ORIGIN http1|http2 CA CASES, answers {case: status}.
import fs from "node:fs";
import http2 from "node:http2";
import https from "node:https";

const [, , origin, version, ca, cases] = process.argv;
const trusted = { ca: fs.readFileSync(ca) };
const piece = Buffer.alloc(65536);

function send(request, size, done) {
  let left = size;
  const more = () => {
    while (left > 0) {
      const data = piece.subarray(0, Math.min(left, piece.length));
      left -= data.length;
      if (!request.write(data)) return request.once("drain", more);
    }
    request.end();
  };
  request.on("error", (error) => done(String(error.code ?? error)));
  more();
}

function http1({ path, size, chunked, method }, done) {
  const headers = chunked || !size ? {} : { "content-length": size };
  const request = https.request(origin + path, { ...trusted, method, headers, agent: false }, (response) => {
    let length = 0;
    response.on("data", (data) => (length += data.length));
    response.on("end", () => done(response.statusCode, length, response.trailers));
    response.on("error", (error) => done(String(error.code)));
  });
  send(request, size, done);
}

const session = version === "http2" ? http2.connect(origin, trusted) : null;

function overHttp2({ path, size, chunked, method }, done) {
  const headers = { ":path": path, ":method": method };
  if (size && !chunked) headers["content-length"] = size;
  const stream = session.request(headers, { endStream: !size });
  let status = 0;
  let length = 0;
  let trailers = {};
  stream.on("response", (fields) => (status = fields[":status"]));
  stream.on("trailers", (fields) => (trailers = { ...fields }));
  stream.on("data", (data) => (length += data.length));
  stream.on("end", () => done(status, length, trailers));
  if (size) send(stream, size, done);
  else stream.on("error", (error) => done(String(error.code)));
}

const run = session ? overHttp2 : http1;
const results = {};
await Promise.all(
  JSON.parse(cases).map(
    (one) =>
      new Promise((resolve) =>
        run(one, (status, length = 0, trailers = {}) => {
          results[one.name] ??= [status, length, trailers["x-sum"] ?? ""];
          resolve();
        }),
      ),
  ),
);
console.log(JSON.stringify(results));
process.exit(0);

// Makes requests with Go's own client: interop ORIGIN http1|http2 CA CASES, answers {case: [status, length, trailer]}.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

type request struct {
	Name, Path, Method string
	Size               int64
	Chunked            bool
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func main() {
	pem, _ := os.ReadFile(os.Args[3])
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: os.Args[2] == "http2"}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	var cases []request
	if err := json.Unmarshal([]byte(os.Args[4]), &cases); err != nil {
		panic(err)
	}
	results := map[string][]any{}
	var lock sync.Mutex
	var all sync.WaitGroup
	for _, one := range cases {
		all.Add(1)
		go func(one request) {
			defer all.Done()
			var body io.Reader
			if one.Size > 0 {
				body = io.LimitReader(zeros{}, one.Size)
			}
			asked, _ := http.NewRequest(one.Method, os.Args[1]+one.Path, body)
			if !one.Chunked {
				asked.ContentLength = one.Size
			}
			answer := []any{"", 0, ""}
			response, err := client.Do(asked)
			if err == nil {
				length, failed := io.Copy(io.Discard, response.Body)
				answer = []any{response.StatusCode, length, response.Trailer.Get("X-Sum")}
				err = failed
			}
			if err != nil {
				answer[0] = err.Error()
			}
			lock.Lock()
			results[one.Name] = answer
			lock.Unlock()
		}(one)
	}
	all.Wait()
	told, _ := json.Marshal(results)
	fmt.Println(string(told))
}

"""Files and environment become frozen settings, or a list of problems. No I/O but the reading of files.

* ``load``          the way through, from main file, environment and API definitions to a `Configuration`
* ``settings``      the keys of the main file       ``definitions``  those of an API definition
* ``material``      what is named and kept elsewhere: ``client_trust`` for clients, ``upstream_trust`` for upstreams
* ``balancing``     how an API treats its targets   ``uptime``       what is checked, and how often
* ``expiry``        when the end of a certificate is told
* ``kinds``         the kinds of values that keys take; ``header_kinds`` and ``networks`` two of their own
* ``node``          a value that knows where it stands: made by ``document``, ``json_text``, ``yaml_text``;
  ``plain`` is the way back, ``spans`` where it is in the text, and ``edit`` changes that
* ``environment``   variables over values
* ``reading``       nodes become models             ``sentences``    pydantic's errors become sentences
* ``standing``      what becomes of definitions that are wrong
* ``refusals``      what may not be asked for       ``rules``        what spans several keys or APIs
* ``service_rules`` what services may say, which pass bytes on; ``definition_rules`` what APIs may of their clients
* ``definition_text`` reads a definition of either format; ``oas`` turns Tyk's OAS format into the classic one
* ``own_ports``     ports that definitions open, and who may share one
* ``tyk_names``     what becomes of Tyk's other keys; ``switches``: which parts of a definition are off
* ``connection_types``  the services that `gateway upstream` knows
* ``problems``      what is wrong, as values        ``reference``    docs/configuration.md, from the models
"""

"""Files and environment become frozen settings, or a list of problems. No I/O but the reading of files.

* ``load``          the way through, from main file, environment and API definitions to a `Configuration`
* ``settings``      the keys of the main file       ``definitions``  those of an API definition
* ``balancing``     how an API treats its targets   ``uptime``       what is checked, and how often
* ``kinds``         the kinds of values that keys take
* ``node``          a value that knows where it stands: made by ``document``, ``json_text``, ``yaml_text``
* ``environment``   variables over values
* ``reading``       nodes become models             ``sentences``    pydantic's errors become sentences
* ``refusals``      what may not be asked for       ``rules``        what spans several keys or APIs
* ``service_rules`` what services may say, which pass bytes on
* ``tyk_names``     what exists in Tyk and means nothing here
* ``problems``      what is wrong, as values        ``reference``    docs/configuration.md, from the models
"""

"""What outlives a process, on this node.

* ``sqlite``        the ``Store``: each of its methods is one transaction
* ``database``      a connection, its transactions, and its errors in words
* ``schema``        the tables, and how an older database becomes a newer one
* ``materials``     chains with their sealed keys
* ``sites``         which certificates serve which name
* ``contest``         which certificates of a configuration serve, and which hide which
* ``domains``       changes of one name's certificate at runtime
* ``certificates``  Tyk's certificate store; ``uploads`` what may be put there
* ``expiry``        the ends of certificates, and what was told of them
* ``accounts``      administrators and their sessions
* ``generations``   the last states that were served, with their configurations
* ``audit``         who changed what
* ``spare``         a copy of the database from before an upgrade
* ``inspection``    whether the database is sound, and the way back where it is not
* ``exposure``      who else can read a file with a secret in it
* ``readings``      what certificate files held when they were last read
* ``file_status``   by what a file is known to be unchanged
* ``certificate_files``  certificate files → what they hold, read only where they have changed
* ``file_sources``  certificates named by a configuration → the entries that the database shall hold
* ``client_sources``  what a configuration names to recognise clients by; ``upstream_sources``, what towards upstreams
* ``control_certificate``  the control port's; ``default_certificate`` that of a gateway which was given none
* ``resealing``     everything that is sealed, sealed anew
* ``cloud_key``     AWS KMS, which seals the root master key
* ``admin_secret``  the secret that is made when none is configured
"""

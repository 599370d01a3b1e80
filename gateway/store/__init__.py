"""What outlives a process, on this node.

* ``sqlite``        the database: generations of the configuration, and the certificate of every name
* ``schema``        its tables, and how an older database becomes a newer one
* ``file_sources``  certificate files named by a configuration → the entries that the database shall hold
* ``admin_secret``  the secret that is made when none is configured
"""

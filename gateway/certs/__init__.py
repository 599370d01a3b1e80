"""Certificate material: what a person hands in becomes something that can be served, or a reason why not.

* ``loading``      certificates, revocation lists and keys from bytes, whatever the library raises
* ``pem``          text to a checked certificate pair: key, leaf, chain in order
* ``blocks``       the text underneath: labelled PEM blocks
* ``der``          the little of DER that the library does not tell
* ``describe``     what one certificate says about itself
* ``choice``       which of several for one name serves, and until when
* ``dates``        what there is to say about a chain's dates
* ``trusted``      what clients are recognised by: certificates, authorities, public keys
* ``revocation``   revocation lists
* ``self_signed``  certificates for the demo and the tests, from a throw-away authority
* ``seal``         private keys at rest
* ``keyring``      the keys that they are sealed with, and what seals those
* ``held``         root master keys in memory that processes share

Only ``seal`` and ``keyring`` touch the disk; the other readers are values in, values out.
"""

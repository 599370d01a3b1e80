"""The three roles and how they speak to each other.

* ``supervisor``  opens the sockets, forks control and the workers, replaces the dead, passes signals on
* ``succession``  an upgrade, as the supervisor goes through it that is replaced: its steps, and the way back
* ``upgrade``     what the supervisor before and the one after say to each other, and how the one starts the other
* ``service``     what systemd is told, and the PID file
* ``children``    what the supervisor knows of its children: slots, and how long to wait before the next try
* ``listeners``   the listening sockets, and the lock on the data directory
* ``service_ports``  the sockets of services, which come and go with reloads
* ``orphans``     what a supervisor that was killed leaves behind, and how soon it is gone
* ``inspection``  looks at the database before a start serves from it
* ``renewal``     files → the next generation in the store; used at start and at every reload
* ``control``     the only writer of the store after start; serves the control port, watches files
* ``control_port``  the port itself, plain or with the gateway's own TLS
* ``watch``       which files have changed, by ``inotify`` where it helps, ``links`` and ``marks``
* ``operations``  what the admin API may ask for: each change is written, then confirmed by every worker
* ``key_operations``  of those, what is about keys; ``main_file_operations``, about the main file
* ``main_file``   that file as something that is changed; ``adjusting`` says how, ``secret_files`` are named in it
* ``file_identity``  which file it is, for those who ask whether it is theirs
* ``in_force``    what settings come to, as commands show it
* ``unwrapping``  the root master key at a start, where only AWS KMS can open it
* ``examination``  what is checked before a certificate is put; ``revocations``, before a revocation list is
* ``accounts``    administrators and their sessions; ``passwords`` hashes, one at a time
* ``reloads``     what the files said when they were last read; makes what they say now the next generation
* ``expiry``      watches the ends of all certificates, and tells of them in time
* ``probes``      asks hosts whether they are up (Tyk's uptime tests) and tells the workers
* ``upstream_report``  what the workers say of the targets of APIs, added up
* ``naming``      which API of a configuration names a domain, and what refers to a stored certificate
* ``definition_files``  API definitions written to and removed from ``app_path``
* ``roster``      control's side of its conversation with the workers
* ``messages``    the closed vocabulary of that conversation
* ``worker``      serves traffic from one generation at a time
* ``role``        what control and a worker have in common: signals, the lifeline, the way out
"""

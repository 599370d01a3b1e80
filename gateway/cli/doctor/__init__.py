"""``gateway doctor``: what InfluxDB's page on troubleshooting TLS has people look at, looked at.

``walk`` puts the findings in the page's order, ``files`` looks at what is on the disk, ``live`` at what answers.
"""

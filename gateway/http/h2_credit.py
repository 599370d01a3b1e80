"""The credit of an HTTP/2 peer: frames that wear out the gateway spend it; useful work and time restore it.

A frame that costs work and moves nothing (a ping, a reset, an empty frame, a window opened by a few bytes) spends
credit. A flood of any kind therefore uses up the credit, and the connection ends with ENHANCE_YOUR_CALM. Clients and
upstreams have the same credit. The figures are nghttp2's: a burst of 1,000, then some per second.
"""

CREDIT = 1000
"""The credit of a new connection, and the most that time restores."""

PER_SECOND = 100
"""The credit that time gives back."""

RESET = 5
"""The price of a request that was begun in vain."""

ANSWERED = 10
"""The reward for a request that has had its whole answer."""

LITTLE = 256
"""The bytes of payload from which on a DATA frame earns a reward."""

MOVED = 2
"""The reward for a DATA frame of ``LITTLE`` bytes or more, or for one that the window did not cut."""

EXHAUSTED = "too many frames that move nothing"

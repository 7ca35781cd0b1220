"""Sockets among the processes of one system: plain data. With `--net` those of the Internet are real ones.

names       addresses: of files, abstract ones, of IPv4 and IPv6
socket      what one socket is, and a message that waits in it
table       all sockets by number, who has which name and port; keys that are woken
transport   what all kinds do alike: take what has come, accept, the end; `stream` what streams do
unix        AF_UNIX: streams, datagrams, packets in sequence, with files that go along
tcp, udp    AF_INET and AF_INET6, as far as the loopback interface goes
options     setsockopt and getsockopt
real        AF_INET and AF_INET6 with --net: sockets of the network outside
file        the open file; `network` says which transport is behind it
"""

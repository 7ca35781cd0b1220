"""Sockets among the processes of one system, as plain data. With `--net`, Internet sockets are real ones.

names       addresses: of files, abstract ones, of IPv4 and IPv6
socket      one socket, and messages that wait in it
table       all sockets by number, their names and ports; keys that are woken
transport   the common part of all kinds: receive, accept, close; `stream` that of streams
unix        AF_UNIX: streams, datagrams, sequenced packets, with passed files
tcp, udp    AF_INET and AF_INET6, as far as the loopback interface goes
options     setsockopt and getsockopt
real        AF_INET and AF_INET6 with --net: sockets of the network outside
file        the open file; `network` finds its transport
"""

# Servers and clients on the loopback device: nc, httpd, wget.
mkdir network; cd network
(nc -l -p 5701 >nc.out &); sleep 0.5; echo over the net | nc -w 1 127.0.0.1 5701; sleep 0.3; cat nc.out
nc -w 1 127.0.0.1 5702; echo refused $?
mkdir www; echo page >www/index.html; seq 1 20000 >www/big
httpd -p 127.0.0.1:5781 -h www -f & server=$!
sleep 0.5; wget -q -O - http://127.0.0.1:5781/index.html; wget -q -O - http://127.0.0.1:5781/none 2>&1
for n in 1 2 3; do wget -q -O big$n http://127.0.0.1:5781/big & done; sleep 1; wait %2 %3 %4; md5sum big1 big2 big3
kill $server; wait $server; echo $?
exit 0

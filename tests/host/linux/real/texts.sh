# Texts: sort, sed, awk, grep, diff, checksums, compression.
mkdir texts; cd texts
printf 'a\nb\nc\n' >1; printf 'a\nB\nc\n' >2; diff -u 1 2 >p; tail -n +3 p; patch 1 <p; cmp 1 2 && echo patched
printf 'x\nb\nc\n' >1
comm 1 2; cut -c1 1; paste 1 2; split -l 1 1 sp; ls sp*; tac 1; rev 1; nl 1; fold -w 1 1; expand 1; uniq -c 1; head -c 2 1; tail -n 1 1
truncate -s 100 tt; wc -c tt; install -m 700 1 inst; stat -c %a inst; realpath 1 | sed 's,.*/,,'; basename /a/b.c .c; dirname /a/b
cpio -o -H newc <<E2 2>/dev/null >c.cpio
1
2
E2
mkdir cc; (cd cc; cpio -i <../c.cpio 2>/dev/null; ls)
bzip2 -c 1 | bunzip2; xz -h >/dev/null 2>&1; printf 'line\n' | tee t1 t2; cat t1 t2; shuf -i 1-3 | sort; 
factor 60; expr 3 \* 4; bc <<E3
2^100
E3
dc -e '2 3 + p'; echo 'a b' | awk '{print $2,$1}'; awk 'BEGIN{for(i=0;i<5;i++)s=s i; print s; printf "%.3f\n", 3.14159; "echo sub" | getline x; print x; print length("abc"), substr("hello",2,3), toupper("q"); system("echo sys")}' 
seq 1 1000 | awk '{s+=$1} END{print s}'; uuencode 1 name <1; base64 1; base64 -d <<E4
aGVsbG8K
E4
comm 1 2; cut -c1 1; paste 1 2; split -l 1 1 sp; ls sp*; tac 1; rev 1; nl 1; fold -w 1 1; expand 1; uniq -c 1; head -c 2 1; tail -n 1 1
bzip2 -c 1 | bunzip2; xz -h >/dev/null 2>&1; printf 'line\n' | tee t1 t2; cat t1 t2; shuf -i 1-3 | sort; 
factor 60; expr 3 \* 4; bc <<E3
2^100
E3
dc -e '2 3 + p'; echo 'a b' | awk '{print $2,$1}'; awk 'BEGIN{for(i=0;i<5;i++)s=s i; print s; printf "%.3f\n", 3.14159; "echo sub" | getline x; print x; print length("abc"), substr("hello",2,3), toupper("q"); system("echo sys")}' 
seq 1 1000 | awk '{s+=$1} END{print s}'; uuencode 1 name <1; base64 1; base64 -d <<E4
aGVsbG8K
E4
yes | head -c 100000 | wc -c; head -c 100000 /dev/zero | tr '\0' x | fold -w 100 | wc -l
seq 30000 -1 1 | sort -n | md5sum; seq 1 3000 >n; sort -rn n | head -1; sort -u n n | wc -l; shuf n | sort -n | cmp - n && echo equal
split -l 1000 n nn; wc -l nn*; cat nn* | md5sum; gzip -9 n; zcat n.gz | md5sum; bzip2 nnaa; bzcat nnaa.bz2 | wc
awk -F: '{n[$1]++} END{for(k in n) print k, n[k] | "sort"}' <<EOF
b:1
a:2
b:3
EOF
awk 'BEGIN{while(("echo a b; echo c" | getline l)>0) print "l:" l; "date +%Y" | getline y; print (y>2000); printf "%d %s %c %e\n", 3.7, "s", 65, 1234.5; split("a,b,c",t,","); print t[3], match("foobar","o+"), RSTART, RLENGTH; gsub(/a/,"b",t[1]); print t[1]; print substr("hello",2); print index("abc","c"); print sin(0), int(3.9), 2^0.5; print ENVIRON["E"]; print > "/dev/stderr"; exit 3}'; echo $?
sed -n '/2/,/4/p;$=' <<EOF
1
2
3
4
5
EOF
printf 'x y\n' | sed -r 's/(\w) (\w)/\2 \1/; y/x/z/'; sed '2i\inserted' nnab | head -3; printf 'a\nb\n' | sed 'N;s/\n/-/'; 
ed 1 <<E5
1
a
added
.
1,3p
q
q
E5
exit 2

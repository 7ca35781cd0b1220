# Files and folders: find, tar, cp, links, modes, times.
mkdir folders; cd folders
mkdir -p d/e/f; echo x >d/a; echo yy >d/e/b; echo zzz >d/e/f/c; ln -s a d/l; ln d/a d/h
find d | sort; find d -type f -exec wc -c {} \; | sort ; find d -name '*c' -print0 | xargs -0 cat
tar cf - d | tar tf - | sort; mkdir x; tar cf - d | (cd x && tar xf -); diff -r d x/d && echo same
tar czf t.tgz d; tar tzf t.tgz | sort; gzip -c d/e/b | gunzip; gzip -k d/a; ls d | sort; zcat d/a.gz
cp -a d d2; ls -l d2 | awk '{print $1,$2,$5,$9,$10,$11}' ; readlink d2/l; mv d2 d3; ls d3
chmod 640 d/a; stat -c '%a %s %h %F' d/a d/l d; touch -d '2020-01-02 03:04:05' d/a; stat -c '%Y' d/a; date -r d/a -u +%F
dd if=/dev/zero of=z bs=1k count=64 2>/dev/null; ls -s z | awk '{print $2}'; md5sum z; sha256sum z; sha1sum z; sha512sum z; cksum z
echo hello | od -c; echo hello | hexdump -C; echo hello | xxd; du -s d >/dev/null && echo du; df . >/dev/null && echo df
printf 'a\nb\nc\n' >1; printf 'a\nB\nc\n' >2; diff -u 1 2 >p; tail -n +3 p; patch 1 <p; cmp 1 2 && echo patched
grep -r z d; grep -rl y d; sed -i 's/a/Q/' 1; cat 1; rm -r d; ls; rmdir x 2>&1; 
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
test -L nosuch; echo $?; test -d cc && echo dir; mktemp -d tmpXXXXXX | wc -c; rmdir tmp*; sync; ls -la nosuch 2>&1; cat . 2>&1; rm nosuch 2>&1; mkdir cc 2>&1; cp nosuch y 2>&1; mv nosuch y 2>&1; ln -s x cc 2>&1 ; echo >nosuch/f 2>&1
mkdir cc; printf '1\n2\n' | cpio -o -H newc 2>/dev/null >c.cpio; (cd cc; cpio -i <../c.cpio 2>/dev/null; ls)
test -L nosuch; echo $?; test -d cc && echo dir; mktemp -d tmpXXXXXX | wc -c; rmdir tmp*; ls -la nosuch 2>&1; cat . 2>&1
rm nosuch 2>&1; mkdir cc 2>&1; cp nosuch y 2>&1; mv nosuch y 2>&1; rmdir cc 2>&1; (echo >nosuch/f) 2>&1
touch fa; chmod 4755 fa; stat -c %a fa; chmod u+x,g-r fa; stat -c %a fa; chown 0:0 fa; echo $?
mknod pp p && stat -c %F pp; ln fa hl; stat -c %h fa; ln -s nowhere dang; cat dang 2>&1; ls -F
mv dang d2; readlink d2; rm d2; touch -t 202001010000 fa; date -u -r fa +%F; ls -l --full-time fa | wc -l
fallocate -l 1000 fb; wc -c <fb; truncate -s 0 fb; cmp fa fb && echo empty; link fa fc; unlink fc; shred fb; echo $?
dd if=/dev/zero bs=1M count=20 2>/dev/null | wc -c; head -c 3000000 /dev/urandom | wc -c
mkdir -p g/h; touch g/1 g/h/2; tar cf a.tar g; tar tvf a.tar | awk '{print $1, $3, $6}' | sort; mkdir out
tar xf a.tar -C out; find out | sort; touch -d '2001-01-01' old; find . -type f -newer old -name '[a12]*' | sort
find g -empty | sort; find . -maxdepth 1 -size +100k; find g -name 2 -delete; ls g/h
flock lk echo flocked; cd g; pwd | sed 's,.*/,,'; cd - >/dev/null; df . >/dev/null && echo df; stat -f . >/dev/null && echo statf

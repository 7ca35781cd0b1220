// Goroutines, channels, timers, signals, HTTP on loopback, processes, files, maps and the collector.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(what string, err error) {
	if err != nil {
		fmt.Println(what, "error:", err)
	}
}

func goroutines() {
	results := make(chan int)
	var group sync.WaitGroup
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			sum := 0
			for j := 0; j <= n*100; j++ {
				sum += j
			}
			results <- sum
		}(i)
	}
	go func() { group.Wait(); close(results) }()
	total := 0
	for one := range results {
		total += one
	}
	fmt.Println("goroutines:", total)
}

func timers() {
	ticker := time.NewTicker(2 * time.Millisecond)
	ticks := 0
	for range ticker.C {
		if ticks++; ticks == 3 {
			break
		}
	}
	ticker.Stop()
	select {
	case <-time.After(5 * time.Millisecond):
		fmt.Println("timers: after", ticks)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println("timers:", ctx.Err())
}

func signals() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signals:", <-got)
	func() {
		defer func() { fmt.Println("signals: recovered", recover()) }()
		var nothing *struct{ field int }
		fmt.Println(nothing.field)
	}()
}

func files() {
	dir, err := os.MkdirTemp("", "gp")
	check("mkdtemp", err)
	defer os.RemoveAll(dir)
	for _, name := range []string{"b", "a", "sub/c"} {
		check("mkdir", os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check("write", os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, 1000)), 0o644))
	}
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		check("walk", err)
		relative, _ := filepath.Rel(dir, path)
		if !info.IsDir() {
			fmt.Println("files:", relative, info.Size(), info.Mode())
		}
		return nil
	})
	check("rename", os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "z")))
	_, err = os.Stat(filepath.Join(dir, "a"))
	fmt.Println("files: gone", errors.Is(err, os.ErrNotExist))
	file, err := os.OpenFile(filepath.Join(dir, "b"), os.O_APPEND|os.O_RDWR, 0)
	check("open", err)
	fmt.Fprintln(file, "end")
	file.Seek(-4, io.SeekEnd)
	line, _ := bufio.NewReader(file).ReadString('\n')
	fmt.Printf("files: %q\n", line)
	file.Close()
}

func garbage() {
	kept := map[string][]byte{}
	for i := 0; i < 3000; i++ {
		kept[fmt.Sprint(i%100)] = make([]byte, 10000)
	}
	runtime.GC()
	keys := make([]string, 0, len(kept))
	for key := range kept {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("garbage:", len(keys), keys[:3], stats.NumGC > 0)
}

func locks() {
	var mutex sync.Mutex
	var counter, fast int64
	condition := sync.NewCond(&mutex)
	for i := 0; i < 8; i++ {
		go func() {
			for j := 0; j < 500; j++ {
				mutex.Lock()
				counter++
				mutex.Unlock()
				atomic.AddInt64(&fast, 1)
			}
			mutex.Lock()
			condition.Broadcast()
			mutex.Unlock()
		}()
	}
	mutex.Lock()
	for counter < 4000 {
		condition.Wait()
	}
	mutex.Unlock()
	fmt.Println("locks:", counter, atomic.LoadInt64(&fast))
}

func processes() {
	runner := []string{}
	if with := os.Getenv("RUNNER"); with != "" {
		runner = append(runner, with)
	}
	command := append(runner, os.Args[0], "child", "x y")
	child := exec.Command(command[0], command[1:]...)
	child.Stdin = strings.NewReader("to the child\n")
	output, err := child.Output()
	fmt.Printf("processes: %q %v\n", output, err)
	killed := exec.Command(command[0], append(command[1:len(command)-2:len(command)-2], "sleep")...)
	check("start", killed.Start())
	check("kill", killed.Process.Kill())
	fmt.Println("processes:", killed.Wait())
}

func web() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("web:", err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		var numbers []int
		if err := json.NewDecoder(r.Body).Decode(&numbers); err != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		sum := 0
		for _, n := range numbers {
			sum += n
		}
		fmt.Fprint(w, sum)
	})
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	base := "http://" + listener.Addr().String()
	var group sync.WaitGroup
	answers := make([]string, 5)
	for i := range answers {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			body, _ := json.Marshal([]int{i, i * 10, i * 100})
			response, err := http.Post(base+"/sum", "application/json", strings.NewReader(string(body)))
			if err != nil {
				answers[i] = err.Error()
				return
			}
			defer response.Body.Close()
			text, _ := io.ReadAll(response.Body)
			answers[i] = response.Status + " " + string(text)
		}(i)
	}
	group.Wait()
	fmt.Println("web:", strings.Join(answers, ", "))
	response, err := http.Get(base + "/nothing")
	if err == nil {
		fmt.Println("web:", response.StatusCode)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println("web: shut down", server.Shutdown(ctx))
	_, err = http.Get(base + "/sum")
	fmt.Println("web: refused", errors.Is(err, syscall.ECONNREFUSED))
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "child":
			text, _ := io.ReadAll(os.Stdin)
			fmt.Print(os.Args[2], ": ", string(text))
			return
		case "sleep":
			time.Sleep(time.Hour)
		}
	}
	goroutines()
	locks()
	timers()
	signals()
	files()
	garbage()
	processes()
	web()
	os.Exit(7)
}

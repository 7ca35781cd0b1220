// Threads, exceptions, file systems, streams, regular expressions, clocks: what C++ brings along.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <regex>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace fs = std::filesystem;
using namespace std::chrono_literals;

static void threads() {
    std::vector<std::thread> all;
    std::mutex mutex;
    std::atomic<int> fast{0};
    long slow = 0;
    for (int n = 0; n < 8; n++)
        all.emplace_back([&, n] {
            for (int i = 0; i < 200; i++) {
                fast += n;
                std::lock_guard lock(mutex);
                slow += n;
            }
        });
    for (auto &one : all) one.join();
    std::cout << "threads: " << fast << " " << slow << "\n";

    std::deque<int> queue;
    std::condition_variable ready;
    bool done = false;
    int sum = 0;
    std::thread consumer([&] {
        std::unique_lock lock(mutex);
        while (!done || !queue.empty()) {
            ready.wait(lock, [&] { return done || !queue.empty(); });
            while (!queue.empty()) sum += queue.front(), queue.pop_front();
        }
    });
    for (int i = 1; i <= 100; i++) {
        { std::lock_guard lock(mutex); queue.push_back(i); }
        ready.notify_one();
        if (i % 10 == 0) std::this_thread::yield();
    }
    { std::lock_guard lock(mutex); done = true; }
    ready.notify_all();
    consumer.join();
    std::cout << "queue: " << sum << "\n";

    std::shared_mutex shared;
    int value = 0;
    std::vector<std::future<int>> futures;
    for (int n = 0; n < 4; n++)
        futures.push_back(std::async(std::launch::async, [&, n] {
            if (n % 2) { std::unique_lock lock(shared); return ++value; }
            std::shared_lock lock(shared);
            return value < 3 ? 0 : 1;
        }));
    for (auto &one : futures) one.wait();
    std::cout << "shared: " << value << "\n";

    std::once_flag once;
    std::atomic<int> times{0};
    std::vector<std::thread> more;
    for (int n = 0; n < 4; n++) more.emplace_back([&] { std::call_once(once, [&] { times++; }); });
    for (auto &one : more) one.join();
    std::cout << "once: " << times << "\n";

    thread_local int own = 5;
    std::thread([&] { own++; std::cout << "thread_local: " << own << "\n"; }).join();
    std::cout << "thread_local: " << own << "\n";

    std::timed_mutex timed;
    timed.lock();
    std::thread([&] { std::cout << "timed: " << timed.try_lock_for(5ms) << "\n"; }).join();
    timed.unlock();
}

struct Loud {
    std::string name;
    ~Loud() { std::cout << "destroyed: " << name << "\n"; }
};

static void exceptions() {
    try {
        Loud a{"a"};
        std::function<void(int)> deep = [&](int n) {
            Loud inner{std::to_string(n)};
            if (n == 0) throw std::out_of_range("the bottom");
            deep(n - 1);
        };
        deep(2);
    } catch (const std::logic_error &error) {
        std::cout << "caught: " << error.what() << "\n";
    }
    std::promise<int> promise;
    auto future = promise.get_future();
    std::thread thread([&] {
        try {
            std::vector<int>().at(3);
        } catch (...) {
            promise.set_exception(std::current_exception());
        }
    });
    try {
        future.get();
    } catch (const std::out_of_range &) {
        std::cout << "from a thread: out_of_range\n";
    }
    thread.join();
    try {
        try {
            throw std::runtime_error("inner");
        } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
        }
    } catch (const std::exception &outer) {
        try {
            std::rethrow_if_nested(outer);
        } catch (const std::exception &inner) {
            std::cout << outer.what() << " of " << inner.what() << "\n";
        }
    }
    try {
        volatile size_t much_too_much = 1ul << 60;
        std::unique_ptr<char[]> much(new char[much_too_much]);
    } catch (const std::bad_alloc &) {
        std::cout << "bad_alloc\n";
    }
    try {
        std::cout << fs::file_size("not there");
    } catch (const fs::filesystem_error &error) {
        std::cout << "filesystem_error: " << error.code().message() << "\n";
    }
}

static void files() {
    fs::path top = "folder";
    fs::remove_all(top);
    fs::create_directories(top / "one" / "two");
    for (auto name : {"c", "a", "one/b", "one/two/d"}) std::ofstream(top / name) << "text of " << name << "\n";
    fs::copy_file(top / "a", top / "copy");
    fs::rename(top / "copy", top / "one" / "moved");
    std::vector<std::string> found;
    for (const auto &entry : fs::recursive_directory_iterator(top))
        found.push_back(entry.path().string() + (entry.is_directory() ? "/" : " " + std::to_string(entry.file_size())));
    std::sort(found.begin(), found.end());
    for (const auto &one : found) std::cout << one << "\n";
    fs::copy(top / "one", top / "again", fs::copy_options::recursive);
    std::cout << "again: " << fs::exists(top / "again/two/d") << "\n";
    fs::resize_file(top / "a", 3);
    std::cout << "size: " << fs::file_size(top / "a") << "\n";
    std::cout << "equivalent: " << fs::equivalent(top / "a", top / "one/../a") << "\n";
    auto then = fs::file_time_type::clock::now() - 24h;
    fs::last_write_time(top / "a", then);
    auto off = std::chrono::abs(fs::last_write_time(top / "a") - then);
    std::cout << "time: " << (off < 1s) << "\n";
    std::cout << "canonical: " << fs::canonical(top / "one/two/..").filename() << "\n";
    std::error_code error;
    fs::remove(top, error);
    std::cout << "remove: " << error.message() << "\n";
    std::cout << "space: " << (fs::space(".").capacity > 0) << "\n";
    std::fstream both(top / "c", std::ios::in | std::ios::out | std::ios::binary);
    both.seekp(5) << "OF";
    both.seekg(0);
    std::string line;
    std::getline(both, line);
    std::cout << line << "\n";
    std::cout << "removed: " << fs::remove_all(top) << "\n";
}

static void texts() {
    std::cout << std::setw(8) << std::setfill('*') << 42 << " " << std::hex << std::showbase << 255 << std::dec
              << " " << std::fixed << std::setprecision(3) << 3.14159 << " " << std::scientific << 12345.678 << "\n"
              << std::defaultfloat << std::noshowbase;
    std::istringstream in("1 2.5 word 0x10");
    int i; double d; std::string w; int h;
    in >> i >> d >> w >> std::hex >> h;
    std::cout << i << " " << d << " " << w << " " << h << "\n";
    std::regex words("(\\w+)@(\\w+)\\.org");
    std::string text = "ann@one.org, bob@two.org";
    for (std::sregex_iterator it(text.begin(), text.end(), words), end; it != end; ++it)
        std::cout << (*it)[1] << " at " << (*it)[2] << "\n";
    std::cout << std::regex_replace(text, words, "$2.$1") << "\n";
    std::cout << "locale: " << std::locale().name() << " " << std::locale::classic().name() << "\n";
    std::mt19937 random(42);
    std::cout << "mt19937: " << random() << "\n";
    std::map<std::string, int> counts;
    for (auto name : {"x", "y", "x"}) counts[name]++;
    for (auto &[name, count] : counts) std::cout << name << "=" << count << " ";
    std::vector<int> numbers(1000);
    std::iota(numbers.begin(), numbers.end(), 0);
    std::cout << std::accumulate(numbers.begin(), numbers.end(), 0) << "\n";
}

static volatile std::sig_atomic_t signals = 0;

static void clocks() {
    auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(20ms);
    auto took = std::chrono::steady_clock::now() - start;
    std::cout << "slept: " << (took >= 20ms && took < 2s) << "\n";
    std::cout << "system: " << (std::chrono::system_clock::now().time_since_epoch() > 1h) << "\n";
    std::condition_variable never;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::cout << "timeout: " << (never.wait_for(lock, 5ms) == std::cv_status::timeout) << "\n";
    std::signal(SIGUSR1, [](int) { signals = signals + 1; });
    std::raise(SIGUSR1);
    std::cout << "signals: " << signals << "\n";
}

int main() {
    std::cout << std::boolalpha;
    threads();
    exceptions();
    files();
    texts();
    clocks();
    std::set_terminate([] { std::cout << "terminate" << std::endl; std::_Exit(9); });
    std::thread([] { throw 1; }).join();
}

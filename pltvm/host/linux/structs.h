/* The structs that system calls of Linux for riscv64 pass in memory, flattened. `structs` reads this file.
 *
 * Names are those of the kernel's headers, without their prefixes (st_, si_, …). Arrays of char are bytes.
 */

struct timespec { int64_t sec; int64_t nsec; };
struct timeval { int64_t sec; int64_t usec; };
struct itimerspec { int64_t interval_sec; int64_t interval_nsec; int64_t value_sec; int64_t value_nsec; };
struct itimerval { int64_t interval_sec; int64_t interval_usec; int64_t value_sec; int64_t value_usec; };
struct tms { int64_t user; int64_t system; int64_t children_user; int64_t children_system; };
struct rlimit { uint64_t soft; uint64_t hard; };
struct iovec { uint64_t base; uint64_t size; };
struct pollfd { int32_t fd; int16_t events; int16_t revents; };
struct epoll_event { uint32_t events; uint64_t data; };           /* not packed on riscv64 */

struct sigset_and_size { uint64_t address; uint64_t size; };      /* the last argument of pselect6 */

struct rusage {
    int64_t user_sec; int64_t user_usec; int64_t system_sec; int64_t system_usec;
    int64_t maxrss; int64_t rest[13];
};

struct sysinfo {
    int64_t uptime; uint64_t load1; uint64_t load5; uint64_t load15; uint64_t total_ram; uint64_t free_ram; uint64_t shared_ram;
    uint64_t buffer_ram; uint64_t total_swap; uint64_t free_swap; uint16_t processes; uint16_t pad;
    uint64_t total_high; uint64_t free_high; uint32_t unit;
};

struct utsname {
    char sysname[65]; char nodename[65]; char release[65]; char version[65]; char machine[65]; char domain[65];
};

struct stat {
    uint64_t device; uint64_t inode; uint32_t mode; uint32_t links; uint32_t uid; uint32_t gid;
    uint64_t kind_of_device; uint64_t pad1; int64_t size; int32_t block; int32_t pad2; int64_t blocks;
    int64_t accessed_sec; uint64_t accessed_nsec; int64_t modified_sec; uint64_t modified_nsec;
    int64_t changed_sec; uint64_t changed_nsec; uint32_t unused4; uint32_t unused5;
};

struct statx {
    uint32_t mask; uint32_t block; uint64_t attributes; uint32_t links; uint32_t uid; uint32_t gid;
    uint16_t mode; uint16_t pad1; uint64_t inode; uint64_t size; uint64_t blocks; uint64_t attributes_mask;
    int64_t accessed_sec; uint32_t accessed_nsec; int32_t pad2;
    int64_t born_sec; uint32_t born_nsec; int32_t pad3;
    int64_t changed_sec; uint32_t changed_nsec; int32_t pad4;
    int64_t modified_sec; uint32_t modified_nsec; int32_t pad5;
    uint32_t kind_major; uint32_t kind_minor; uint32_t device_major; uint32_t device_minor;
    uint64_t mount; uint32_t align_memory; uint32_t align_offset; uint64_t spare[12];
};

struct statfs {
    int64_t type; int64_t block; uint64_t blocks; uint64_t free; uint64_t available; uint64_t files;
    uint64_t free_files; uint64_t id; int64_t longest_name; int64_t fragment; int64_t flags; int64_t spare[4];
};

struct flock { int16_t type; int16_t whence; int64_t start; int64_t length; int32_t pid; };

struct sigaction { uint64_t handler; uint64_t flags; uint64_t mask; };
struct stack { uint64_t address; int32_t flags; uint64_t size; };

struct siginfo_sent { int32_t number; int32_t error; int32_t code; int32_t pad; int32_t pid; uint32_t uid; uint64_t value; char rest[96]; };
struct siginfo_timer { int32_t number; int32_t error; int32_t code; int32_t pad; int32_t timer; int32_t overrun; uint64_t value; char rest[96]; };
struct siginfo_child { int32_t number; int32_t error; int32_t code; int32_t pad; int32_t pid; uint32_t uid; int32_t status; int64_t user; int64_t system; char rest[80]; };
struct siginfo_fault { int32_t number; int32_t error; int32_t code; int32_t pad; uint64_t address; char rest[104]; };

struct signalfd_siginfo {
    uint32_t number; int32_t error; int32_t code; uint32_t pid; uint32_t uid; int32_t fd; uint32_t timer;
    uint32_t band; uint32_t overrun; uint32_t trap; int32_t status; int32_t value; uint64_t pointer;
    uint64_t user; uint64_t system; uint64_t address; char rest[48];
};

struct sigevent { uint64_t value; int32_t number; int32_t notify; int32_t thread; char rest[44]; };

struct clone_args {
    uint64_t flags; uint64_t pidfd; uint64_t child_tid; uint64_t parent_tid; uint64_t exit_signal;
    uint64_t stack; uint64_t stack_size; uint64_t tls;
};

struct sockaddr_in { uint16_t family; char port[2]; char address[4]; char zero[8]; };
struct sockaddr_in6 { uint16_t family; char port[2]; uint32_t flow; char address[16]; uint32_t scope; };
struct msghdr {
    uint64_t name; uint32_t name_size; uint64_t vectors; uint64_t buffers; uint64_t control;
    uint64_t control_size; uint32_t flags;
};
struct mmsghdr {
    uint64_t name; uint32_t name_size; uint64_t vectors; uint64_t buffers; uint64_t control;
    uint64_t control_size; uint32_t flags; uint32_t pad; uint32_t size;
};
struct cmsghdr { uint64_t size; int32_t level; int32_t type; };
struct cap_header { uint32_t version; int32_t pid; };
struct ipc64_perm {
    int32_t key; uint32_t uid; uint32_t gid; uint32_t cuid; uint32_t cgid; uint32_t mode; uint16_t seq;
    uint64_t pad1; uint64_t pad2;
};
struct shmid64_ds {
    char perm[48]; uint64_t size; int64_t attached; int64_t detached; int64_t changed; int32_t made_by;
    int32_t used_by; uint64_t users; uint64_t pad1; uint64_t pad2;
};
struct semid64_ds { char perm[48]; int64_t used; int64_t changed; uint64_t semaphores; uint64_t pad1; uint64_t pad2; };
struct msqid64_ds {
    char perm[48]; int64_t sent; int64_t received; int64_t changed; uint64_t size; uint64_t messages; uint64_t most;
    int32_t sender; int32_t receiver; uint64_t pad1; uint64_t pad2;
};
struct mq_attr { int64_t flags; int64_t most; int64_t largest; int64_t current; char rest[32]; };
struct inotify_event { int32_t watch; uint32_t mask; uint32_t cookie; uint32_t length; };
struct sembuf { uint16_t number; int16_t change; int16_t flags; };
struct ucred { int32_t pid; uint32_t uid; uint32_t gid; };
struct linger { int32_t on; int32_t seconds; };

struct sched_param { int32_t priority; };
struct dirent { uint64_t inode; int64_t next; uint16_t size; uint8_t type; };   /* and the name behind it */
struct open_how { uint64_t flags; uint64_t mode; uint64_t resolve; };
struct winsize { uint16_t rows; uint16_t columns; uint16_t x; uint16_t y; };

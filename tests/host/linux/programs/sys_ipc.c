/* System V: shared memory, semaphores, messages. */
#include "say.h"
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static key_t KEY; /* of this run: keys are for the whole machine */
union semun { int val; struct semid_ds *buf; unsigned short *array; };
struct message { long type; char text[64]; };

static void memory(void) {
    int id = shmget(KEY, 10000, IPC_CREAT | IPC_EXCL | 0640);
    yes("made", id >= 0);
    tell("again, exclusive", shmget(KEY, 10000, IPC_CREAT | IPC_EXCL | 0640));
    yes("again", shmget(KEY, 100, 0) == id);
    tell("larger", shmget(KEY, 10001, 0));
    tell("another key", shmget(KEY + 1, 1, 0)), tell("of no size", shmget(IPC_PRIVATE, 0, 0600));
    char *at = shmat(id, 0, 0), *again = shmat(id, 0, SHM_RDONLY);
    strcpy(at + 9990, "shared");
    say("%s", again + 9990);
    pid_t child = forked();
    if (!child) {
        strcpy(at, "of a child");
        struct shmid_ds state;
        shmctl(id, IPC_STAT, &state);
        say("attached: %d", (int)state.shm_nattch);
        fflush(stdout);
        again[0] = 'x';
        _exit(0);
    }
    reap("writing to what is read only", child);
    say("%s", at);
    struct shmid_ds state;
    tell("IPC_STAT", shmctl(id, IPC_STAT, &state));
    say("size %d, mode %o, attached %d", (int)state.shm_segsz, state.shm_perm.mode, (int)state.shm_nattch);
    yes("by me", state.shm_cpid == getpid() && state.shm_perm.__key == KEY && state.shm_atime && state.shm_ctime);
    tell("protect", mprotect(again, 4096, PROT_READ | PROT_WRITE));
    tell("shmdt", shmdt(again)), tell("shmdt again", shmdt(again)), tell("inside", shmdt(at + 4096));
    tell("somewhere", shmat(id, at, 0) == (void *)-1 ? -1 : 0);
    tell("not aligned", shmat(id, at + 1, 0) == (void *)-1 ? -1 : 0);
    yes("in its place", shmat(id, at + 1, SHM_RND | SHM_REMAP) == at);
    tell("IPC_RMID", shmctl(id, IPC_RMID, 0));
    tell("by its key", shmget(KEY, 1, 0));
    tell("IPC_STAT", shmctl(id, IPC_STAT, &state));
    say("mode %o, still %s", state.shm_perm.mode, at);
    tell("shmdt", shmdt(at)), tell("IPC_STAT", shmctl(id, IPC_STAT, &state));
    tell("shmat", shmat(id, 0, 0) == (void *)-1 ? -1 : 0);
}

static int change(int id, int which, int by, int flags) {
    return semop(id, &(struct sembuf){which, by, flags}, 1);
}

static void semaphores(void) {
    int id = semget(KEY, 3, IPC_CREAT | 0600);
    yes("made", id >= 0 && semget(KEY, 3, 0) == id && semget(KEY, 0, 0) == id);
    tell("larger", semget(KEY, 4, 0)), tell("of none", semget(IPC_PRIVATE, 0, 0600));
    unsigned short values[3] = {1, 2, 3};
    tell("SETALL", semctl(id, 0, SETALL, (union semun){.array = values}));
    tell("SETVAL", semctl(id, 1, SETVAL, (union semun){.val = 0}));
    tell("too high", semctl(id, 1, SETVAL, (union semun){.val = 32768}));
    tell("GETVAL", semctl(id, 2, GETVAL)), tell("GETVAL of none", semctl(id, 3, GETVAL));
    tell("not now", change(id, 1, -1, IPC_NOWAIT)), tell("not zero", change(id, 0, 0, IPC_NOWAIT));
    tell("zero", change(id, 1, 0, 0)), tell("of none", change(id, 3, 1, 0)), tell("too high", change(id, 0, 32767, 0));
    struct sembuf both[] = {{0, -1, 0}, {1, -1, IPC_NOWAIT}};
    tell("both or none", semop(id, both, 2));
    tell("the first", semctl(id, 0, GETVAL));
    tell("no operation", semop(id, both, 0)), tell("many", semop(id, both, 501));
    struct timespec brief = {0, 20000000};
    tell("a time", semtimedop(id, &(struct sembuf){1, -1, 0}, 1, &brief));
    pid_t child = forked();
    if (!child) {
        tell("child waits", change(id, 1, -2, SEM_UNDO));
        fflush(stdout);
        change(id, 2, 5, SEM_UNDO);
        _exit(0);
    }
    while (semctl(id, 1, GETNCNT) != 1) usleep(1000);
    tell("one more", change(id, 1, 1, 0));
    tell("waiting", semctl(id, 1, GETNCNT)), tell("for zero", semctl(id, 1, GETZCNT));
    int done = change(id, 1, 1, 0);
    reap("child", child);
    tell("and another", done);
    tell("undone", semctl(id, 1, GETVAL)), tell("undone", semctl(id, 2, GETVAL));
    yes("by the child", semctl(id, 1, GETPID) == child);
    child = forked();
    if (!child) tell("removed meanwhile", change(id, 0, 0, 0)), fflush(stdout), _exit(0);
    while (semctl(id, 0, GETZCNT) != 1) usleep(1000);
    struct semid_ds state;
    tell("IPC_STAT", semctl(id, 0, IPC_STAT, (union semun){.buf = &state}));
    say("%d, mode %o", (int)state.sem_nsems, state.sem_perm.mode);
    done = semctl(id, 0, IPC_RMID);
    reap("child", child);
    tell("IPC_RMID", done);
    tell("gone", semctl(id, 0, GETVAL)), tell("gone", change(id, 0, 1, 0));
}

static void receive(int id, long type, int flags, size_t size) {
    struct message got = {0};
    long length = msgrcv(id, &got, size, type, flags);
    if (length < 0) tell("msgrcv", length);
    else say("msgrcv %ld: %ld, %ld %s", type, length, got.type, got.text);
}

static void on_alarm(int number) { (void)number; }

static void messages(void) {
    int id = msgget(KEY, IPC_CREAT | 0600);
    yes("made", id >= 0 && msgget(KEY, 0) == id);
    for (int i = 0; i < 5; i++) {
        struct message sent = {5 - i, "message "};
        sent.text[8] = '0' + i;
        tell("msgsnd", msgsnd(id, &sent, 10, 0));
    }
    static struct message full[130];
    tell("type 0", msgsnd(id, full, 1, 0));
    full->type = 1;
    tell("too long", msgsnd(id, full, 8193, 0));
    receive(id, 3, 0, 64), receive(id, -2, 0, 64), receive(id, 0, 0, 64), receive(id, 4, MSG_EXCEPT, 64);
    receive(id, 0, 0, 3), receive(id, 0, MSG_NOERROR, 3), receive(id, 0, IPC_NOWAIT, 64);
    pid_t child = forked();
    if (!child) receive(id, 7, 0, 64), fflush(stdout), _exit(0);
    usleep(20000);
    struct message sent = {6, "six"};
    msgsnd(id, &sent, 4, 0), sent.type = 7, msgsnd(id, &sent, 4, 0);
    reap("child", child);
    tell("fills it", msgsnd(id, full, 8000, 0)), tell("fills it", msgsnd(id, full, 8192, 0));
    tell("is full", msgsnd(id, full, 1000, IPC_NOWAIT));
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, 0);
    ualarm(20000, 0);
    tell("interrupted", msgsnd(id, full, 1000, 0));
    struct msqid_ds state;
    tell("IPC_STAT", msgctl(id, IPC_STAT, &state));
    say("%d messages, %d bytes of %d", (int)state.msg_qnum, (int)state.__msg_cbytes, (int)state.msg_qbytes);
    tell("IPC_RMID", msgctl(id, IPC_RMID, 0)), tell("gone", msgget(KEY, 0));
}

int main(void) {
    KEY = 0x5000000 + getpid();
    memory();
    semaphores();
    messages();
    return 0;
}

// Runs SQL from files on a database on disk, alone, in two processes at once, and in threads.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sqlite3.h"

static int row(void *unused, int count, char **values, char **names) {
    for (int i = 0; i < count; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    puts("");
    return 0;
}

static int run(sqlite3 *db, const char *sql) {
    char *message = NULL;
    int code = sqlite3_exec(db, sql, row, NULL, &message);
    if (code != SQLITE_OK) printf("error %d: %s\n", code, message ? message : "?");
    sqlite3_free(message);
    return code;
}

static sqlite3 *opened(const char *name) {
    sqlite3 *db;
    if (sqlite3_open(name, &db) != SQLITE_OK) {
        printf("cannot open: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_busy_timeout(db, 20000);
    return db;
}

static const char *database;

static void add(int who, int times) {
    sqlite3 *db = opened(database);
    for (int i = 0; i < times; i++) {
        char sql[200];
        sprintf(sql, "begin immediate; insert into log(who, n) values(%d, (select count(*) from log)); commit", who);
        if (run(db, sql) != SQLITE_OK) exit(2);
    }
    sqlite3_close(db);
}

static void *thread(void *who) { return add((int)(long)who, 10), NULL; }

static void together(const char *mode) {
    char sql[200];
    database = "together.db";
    sqlite3 *db = opened(database);
    sprintf(sql, "pragma journal_mode=%s; drop table if exists log; create table log(who, n)", mode);
    run(db, sql);
    sqlite3_close(db);
    fflush(stdout);
    int status, bad = 0;
    for (int who = 0; who < 2; who++)
        if (fork() == 0) add(who, 20), _exit(0);
    while (wait(&status) > 0) bad |= status;
    pthread_t threads[3];
    for (long who = 0; who < 3; who++) pthread_create(&threads[who], NULL, thread, (void *)(10 + who));
    for (int who = 0; who < 3; who++) pthread_join(threads[who], NULL);
    db = opened(database);
    printf("processes: %d\n", bad);
    run(db, "select who, count(*) from log group by who order by who");
    run(db, "select count(distinct n), min(n), max(n) from log; pragma integrity_check");
    sqlite3_close(db);
}

static void locked(void) {
    sqlite3 *one = opened("locked.db"), *two = opened("locked.db");
    run(one, "pragma journal_mode=delete; create table t(x); insert into t values(1); begin exclusive");
    sqlite3_busy_timeout(two, 50);
    run(two, "select * from t");
    run(one, "rollback");
    run(two, "select * from t");
    fflush(stdout);
    if (fork() == 0) {  // dies in the middle of a change
        sqlite3 *db = opened("locked.db");
        run(db, "pragma cache_size=1; pragma cache_spill=1; begin; insert into t select zeroblob(3000) from "
                "(with recursive c(i) as (select 1 union all select i+1 from c where i<50) select i from c)");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    run(one, "select count(*) from t; pragma integrity_check");
    sqlite3_close(one);
    sqlite3_close(two);
}

int main(int count, char **names) {
    if (count == 3) {
        sqlite3 *db = opened(names[1]);
        static char sql[1 << 16];
        FILE *file = fopen(names[2], "r");
        sql[fread(sql, 1, sizeof sql - 1, file)] = 0;
        run(db, sql);
        sqlite3_close(db);
    }
    together("delete");
    together("truncate");
    together("persist");
    together("wal");
    locked();
    return 3;
}

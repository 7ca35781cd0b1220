/* An enclave that does what a list in its shared memory says, and writes there what came of it.
 *
 * Python tests write the list (tests/monitor/rig.py mirrors the layout) and read the results, so that a test states
 * a sequence of calls in a few lines while guest code really makes them. The same ELF serves as a normal enclave
 * and as a server. A server goes on behind its last step at the next call and starts over at the end of the list.
 */
#include "eapp.h"
#include "ecall.h"
#include "print.h"

#define OPERANDS 5

struct operand {
    unsigned long ref; /* 0, or 1 + number of the step whose result is added to the value */
    unsigned long value;
};

struct step {
    unsigned long code, result, done;
    struct operand in[OPERANDS];
    unsigned long unused[3];
};

struct script {
    unsigned long next;      /* number of the step to go on with */
    unsigned long entries;   /* how often the program was entered */
    unsigned long released;  /* set by the host: LOOP ends */
    unsigned long unused[5];
    unsigned long entry[32]; /* x0...x31 at the last entry */
    unsigned long regs[32];  /* after RAW */
    unsigned long unused2[56];
    struct step steps[];
};

enum { END, CALL, PEEK, POKE, FILL, SUM, JUMP, ODD, RECURSE, LOOP, BUMP, PRINT, RAW, SET_FP, GET_FP, REPEAT, PEEK4,
       SCRATCH };

unsigned long scratch[2 * PAGE_SIZE / 8] __attribute__((aligned(4096))); /* two pages: writable, executable */
static unsigned long bumped = 100;                                       /* .data that must persist */

/* Loads what the block says into every register but sp and x0, calls, and stores every register there; sp before
 * and after go to slots 0 and 2. */
void raw_call(unsigned long *block);
__asm__(
    ".text\n"
    "raw_call:\n"
    "addi sp, sp, -144\n"
    "sd ra, 0(sp)\n sd gp, 8(sp)\n sd tp, 16(sp)\n sd s0, 24(sp)\n sd s1, 32(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n sd x\\n, (\\n * 8 - 104)(sp)\n .endr\n"
    "sd a0, 120(sp)\n sd sp, 0(a0)\n"
    ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, "
    "31, 10\n ld x\\n, (\\n * 8)(a0)\n .endr\n"
    "ecall\n"
    "sd a0, 128(sp)\n ld a0, 120(sp)\n"
    ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, "
    "30, 31\n sd x\\n, (\\n * 8)(a0)\n .endr\n"
    "ld t0, 128(sp)\n sd t0, 80(a0)\n"
    "ld ra, 0(sp)\n ld gp, 8(sp)\n ld tp, 16(sp)\n ld s0, 24(sp)\n ld s1, 32(sp)\n"
    ".irp n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27\n ld x\\n, (\\n * 8 - 104)(sp)\n .endr\n"
    "addi sp, sp, 144\n"
    "ret\n");

static __attribute__((noinline)) unsigned long peek(unsigned long address)
{
    return *(volatile unsigned long *)address; /* fault: peek */
}

static __attribute__((noinline)) void poke(unsigned long address, unsigned long value)
{
    *(volatile unsigned long *)address = value; /* fault: poke */
}

static __attribute__((noinline)) unsigned long recurse(unsigned long depth)
{
    volatile unsigned long frame[32];
    frame[depth % 32] = depth;
    return recurse(depth + 1) + frame[depth % 32];
}

/* A time limit finds a run here, however late it was to get here. */
static __attribute__((noinline)) void loop(struct script *script)
{
    while (*(volatile unsigned long *)&script->released == 0)
        ;
}

static __attribute__((noinline)) unsigned long odd(unsigned long which)
{
    unsigned long value = 0;

    switch (which) {
    case 0: __asm__ volatile(".word 0"); break; /* fault: zero */
    case 1: __asm__ volatile(".option push\n.option norvc\nebreak\n.option pop"); break; /* fault: ebreak */
    case 2: __asm__ volatile("csrr %0, mhartid" : "=r"(value)); break;
    case 3: __asm__ volatile("csrr %0, satp" : "=r"(value)); break;
    case 4: __asm__ volatile("csrw satp, zero"); break;
    case 5: __asm__ volatile("sret"); break;
    case 6: __asm__ volatile("mret"); break;
    case 7: __asm__ volatile("sfence.vma"); break;
    case 8: __asm__ volatile("wfi"); break;
    case 9: __asm__ volatile("c.ebreak"); break;
    case 10: __asm__ volatile("csrw mstatus, zero"); break;
    case 11: __asm__ volatile("csrw pmpaddr0, zero"); break;
    case 12: __asm__ volatile(".word 0xffffffff"); break;
    case 13: __asm__ volatile("csrw cycle, zero"); break;
    case 14: __asm__ volatile("csrw sstatus, zero"); break;
    }
    return value;
}

static __attribute__((noinline)) void set_fp(unsigned long value)
{
    __asm__ volatile(
        ".option push\n .option arch, +d\n"
        ".irp n, 0, 1, 7, 15, 31\n fmv.d.x f\\n, %0\n .endr\n fscsr %1\n"
        ".option pop\n" : : "r"(value), "r"(0x61));
}

static __attribute__((noinline)) unsigned long get_fp(void)
{
    unsigned long all = 0, one;
    __asm__ volatile(
        ".option push\n .option arch, +d\n"
        "frcsr %0\n .irp n, 0, 1, 7, 15, 31\n fmv.x.d %1, f\\n\n or %0, %0, %1\n .endr\n"
        ".option pop\n" : "=&r"(all), "=&r"(one));
    return all;
}

static unsigned long run(struct script *script, unsigned long code, const unsigned long in[OPERANDS])
{
    unsigned long result = 0;

    switch (code) {
    case CALL: return enclave_call(in[0], in[1], in[2], in[3], in[4]);
    case REPEAT:
        for (unsigned long i = 0; i < in[0]; i++)
            result = enclave_call(in[1], in[2], in[3], in[4], 0);
        return result;
    case PEEK: return peek(in[0]);
    case PEEK4: return *(volatile unsigned int *)in[0];
    case POKE: poke(in[0], in[1]); return 0;
    case FILL:
        for (unsigned long i = 0; i < in[2]; i++)
            ((volatile unsigned long *)in[0])[i] = in[1];
        return 0;
    case SUM:
        for (unsigned long i = 0; i < in[1]; i++)
            result += ((volatile unsigned long *)in[0])[i];
        return result;
    case JUMP: return ((unsigned long (*)(void))in[0])();
    case ODD: return odd(in[0]);
    case RECURSE: return recurse(0);
    case LOOP: loop(script); return 0;
    case BUMP: return ++bumped;
    case PRINT: return (unsigned long)eapp_print("%s", (const char *)in[0]);
    case RAW:
        for (unsigned long i = 0; i < 32; i++)
            script->regs[i] = 0x0101010101010101UL * (i + 1);
        script->regs[16] = in[0];
        script->regs[17] = in[1];
        script->regs[10] = in[2];
        script->regs[11] = in[3];
        script->regs[12] = in[4];
        raw_call(script->regs);
        return script->regs[10];
    case SET_FP: set_fp(in[0]); return 0;
    case GET_FP: return get_fp();
    case SCRATCH: return (unsigned long)scratch;
    }
    return -1UL;
}

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct script *script = (struct script *)(args[10] == 0x3900000000UL ? args[10] : args[13]);

    if (script != (struct script *)0x3900000000UL)
        EAPP_RETURN(args[10]); /* no list: a server gets -1 for that and stops */
    script->entries++;
    for (int i = 0; i < 32; i++)
        script->entry[i] = args[i];
    if (script->steps[script->next].code == END)
        script->next = 0;

    for (;;) {
        struct step *step = &script->steps[script->next];
        unsigned long in[OPERANDS];

        if (step->code == END)
            EAPP_RETURN(0);
        for (int i = 0; i < OPERANDS; i++) {
            unsigned long ref = step->in[i].ref;
            in[i] = step->in[i].value + (ref ? script->steps[ref - 1].result : 0);
        }
        script->next++;
        step->result = run(script, step->code, in);
        step->done = 1;
    }
}

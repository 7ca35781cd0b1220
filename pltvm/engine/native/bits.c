/* Bit manipulation that Unicorn's CPU lacks and today's compilers emit, one instruction at a time.
 *
 * A program built for them has one in every few instructions, and each is a trap: here it costs tens of
 * nanoseconds, in Python microseconds. `engine/bits.py` is the readable reference for what each instruction
 * does. These are pure functions of registers, without access to memory.
 *
 *     31      25 24 20 19 15 14  12 11 7 6    0
 *     | funct7  | rs2 | rs1 |funct3| rd |opcode|
 */

#include "engine/native/bits.h"

/* The fixed bits of each form. */
#define REGISTERS 0xFE00707Fu /* two registers, or a shift of a word */
#define SHIFT 0xFC00707Fu     /* a shift, or the number of a bit */
#define UNARY 0xFFF0707Fu     /* one register */

static uint64_t word_signed(uint64_t value) { return (uint64_t)(int64_t)(int32_t)(uint32_t)value; }

static uint64_t rotate_right(uint64_t a, unsigned by) {
    by &= 63;
    return a >> by | a << (-by & 63);
}

static uint64_t rotate_word_right(uint64_t a, unsigned by) {
    uint32_t word = (uint32_t)a;
    by &= 31;
    return word_signed(word >> by | word << (-by & 31));
}

/* Zeros above the highest bit that is set. */
static uint64_t leading_zeros(uint64_t a) { return a ? (uint64_t)__builtin_clzll(a) : 64; }

static uint64_t trailing_zeros(uint64_t a, uint64_t of_none) {
    return a ? (uint64_t)__builtin_ctzll(a) : of_none;
}

/* Each byte that is not zero becomes 255. */
static uint64_t or_combine(uint64_t a) {
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    uint64_t high = (((a & low) + low) | a) & ~low; /* the top bit of each byte that is not zero */
    return (high >> 7) * 0xFF;
}

static int on_registers(uint32_t word, uint64_t a, uint64_t b, uint64_t *result) {
    uint64_t word_a = (uint32_t)a, bit = UINT64_C(1) << (b & 63);
    unsigned by = (unsigned)(b & 63);
    switch (word & REGISTERS) {
    case 0x20002033: *result = (a << 1) + b; return 1;                       /* sh1add */
    case 0x20004033: *result = (a << 2) + b; return 1;                       /* sh2add */
    case 0x20006033: *result = (a << 3) + b; return 1;                       /* sh3add */
    case 0x0800003B: *result = word_a + b; return 1;                         /* add.uw */
    case 0x2000203B: *result = (word_a << 1) + b; return 1;                  /* sh1add.uw */
    case 0x2000403B: *result = (word_a << 2) + b; return 1;                  /* sh2add.uw */
    case 0x2000603B: *result = (word_a << 3) + b; return 1;                  /* sh3add.uw */
    case 0x40007033: *result = a & ~b; return 1;                             /* andn */
    case 0x40006033: *result = a | ~b; return 1;                             /* orn */
    case 0x40004033: *result = ~(a ^ b); return 1;                           /* xnor */
    case 0x0A004033: *result = (int64_t)a < (int64_t)b ? a : b; return 1;    /* min */
    case 0x0A005033: *result = a < b ? a : b; return 1;                      /* minu */
    case 0x0A006033: *result = (int64_t)a > (int64_t)b ? a : b; return 1;    /* max */
    case 0x0A007033: *result = a > b ? a : b; return 1;                      /* maxu */
    case 0x60001033: *result = rotate_right(a, -by); return 1;               /* rol */
    case 0x60005033: *result = rotate_right(a, by); return 1;                /* ror */
    case 0x6000103B: *result = rotate_word_right(a, -by); return 1;          /* rolw */
    case 0x6000503B: *result = rotate_word_right(a, by); return 1;           /* rorw */
    case 0x48001033: *result = a & ~bit; return 1;                           /* bclr */
    case 0x48005033: *result = a >> by & 1; return 1;                        /* bext */
    case 0x68001033: *result = a ^ bit; return 1;                            /* binv */
    case 0x28001033: *result = a | bit; return 1;                            /* bset */
    case 0x0E005033: *result = b ? a : 0; return 1;                          /* czero.eqz */
    case 0x0E007033: *result = b ? 0 : a; return 1;                          /* czero.nez */
    default: return 0;
    }
}

static int on_immediate(uint32_t word, uint64_t a, uint64_t *result) {
    unsigned by = word >> 20 & 63;
    uint64_t bit = UINT64_C(1) << by;
    switch (word & SHIFT) {
    case 0x0800101B: *result = (uint64_t)(uint32_t)a << by; return 1; /* slli.uw */
    case 0x60005013: *result = rotate_right(a, by); return 1;         /* rori */
    case 0x48001013: *result = a & ~bit; return 1;                    /* bclri */
    case 0x48005013: *result = a >> by & 1; return 1;                 /* bexti */
    case 0x68001013: *result = a ^ bit; return 1;                     /* binvi */
    case 0x28001013: *result = a | bit; return 1;                     /* bseti */
    default: break;
    }
    if ((word & REGISTERS) != 0x6000501B) return 0;
    *result = rotate_word_right(a, by); /* roriw */
    return 1;
}

static int on_one(uint32_t word, uint64_t a, uint64_t *result) {
    uint64_t word_a = (uint32_t)a;
    switch (word & UNARY) {
    case 0x60001013: *result = leading_zeros(a); return 1;                          /* clz */
    case 0x6000101B: *result = leading_zeros(word_a) - 32; return 1;                /* clzw */
    case 0x60101013: *result = trailing_zeros(a, 64); return 1;                     /* ctz */
    case 0x6010101B: *result = trailing_zeros(word_a, 32); return 1;                /* ctzw */
    case 0x60201013: *result = (uint64_t)__builtin_popcountll(a); return 1;         /* cpop */
    case 0x6020101B: *result = (uint64_t)__builtin_popcountll(word_a); return 1;    /* cpopw */
    case 0x60401013: *result = (uint64_t)(int64_t)(int8_t)(uint8_t)a; return 1;     /* sext.b */
    case 0x60501013: *result = (uint64_t)(int64_t)(int16_t)(uint16_t)a; return 1;   /* sext.h */
    case 0x0800403B: *result = (uint16_t)a; return 1;                               /* zext.h */
    case 0x28705013: *result = or_combine(a); return 1;                             /* orc.b */
    case 0x6B805013: *result = __builtin_bswap64(a); return 1;                      /* rev8 */
    default: return 0;
    }
}

/* 100111 rd' 10 rs2' 01 is c.mul; 100111 rd' 11 which 01 are operations on rd' alone. */
static int compressed(uint32_t half, uint64_t x[32]) {
    uint64_t *rd = &x[8 + (half >> 7 & 7)], a = *rd;
    unsigned last = half >> 2 & 7;
    switch (half & 0xFC63) {
    case 0x9C41: *rd = a * x[8 + last]; return 2; /* c.mul */
    case 0x9C61: break;
    default: return 0;
    }
    switch (last) {
    case 0: *rd = (uint8_t)a; return 2;                               /* c.zext.b */
    case 1: *rd = (uint64_t)(int64_t)(int8_t)(uint8_t)a; return 2;    /* c.sext.b */
    case 2: *rd = (uint16_t)a; return 2;                              /* c.zext.h */
    case 3: *rd = (uint64_t)(int64_t)(int16_t)(uint16_t)a; return 2;  /* c.sext.h */
    case 4: *rd = (uint32_t)a; return 2;                              /* c.zext.w */
    case 5: *rd = ~a; return 2;                                       /* c.not */
    default: return 0;
    }
}

int bits_execute(uint32_t word, uint64_t x[32]) {
    if ((word & 3) != 3) return compressed(word & 0xFFFF, x);
    unsigned rd = word >> 7 & 31, rs1 = word >> 15 & 31, rs2 = word >> 20 & 31;
    uint64_t a = rs1 ? x[rs1] : 0, b = rs2 ? x[rs2] : 0, result;
    if (!on_registers(word, a, b, &result) && !on_one(word, a, &result) && !on_immediate(word, a, &result))
        return 0;
    if (rd) x[rd] = result;
    return 4;
}

/* 100 | 0 store half | rs1' | offset or, of a half: signed, offset | register' | 00 */
int bits_memory(uint32_t word, const uint64_t x[32], struct bits_access *out) {
    if ((word & 0xF003) != 0x8000) return 0;
    unsigned store = word >> 11 & 1, half = word >> 10 & 1, sixth = word >> 6 & 1, fifth = word >> 5 & 1;
    if (store && half && sixth) return 0; /* reserved */
    out->address = x[8 + (word >> 7 & 7)] + 2 * fifth + (half ? 0 : sixth);
    out->size = half ? 2 : 1;
    out->is_signed = half && sixth;
    out->is_store = (uint8_t)store;
    out->reg = (uint8_t)(8 + (word >> 2 & 7));
    return 1;
}

size_t bits_skipped(const uint16_t *code, size_t count) {
    size_t at = 0;
    while (at < count) {
        uint16_t half = code[at];
        if ((half & 0xE003) == 0x8000 || (half & 0xFC43) == 0x9C41) return at;
        at += (half & 3) == 3 ? 2 : 1;
    }
    return count;
}

/* For tests that compare with Python. */

API int pltvm_bits_execute(uint32_t word, uint64_t *x) { return bits_execute(word, x); }

API int pltvm_bits_memory(uint32_t word, const uint64_t *x, struct bits_access *out) {
    return bits_memory(word, x, out);
}

API size_t pltvm_bits_skipped(const uint16_t *code, size_t count) { return bits_skipped(code, count); }

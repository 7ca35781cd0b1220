/* Follows pointers through 2 MiB in a random cycle: every load depends on the one before, TLB and cache miss. */
#define COUNT 32768UL /* of 64 bytes */
static struct node {
    struct node *next;
    unsigned long value[7];
} nodes[COUNT];

unsigned long kernel(unsigned long rounds)
{
    unsigned long sum = 0, at = 0;
    /* A full-period generator modulo a power of two visits every node once. */
    for (unsigned long i = 0; i < COUNT; i++) {
        unsigned long next = (at * 20077 + 12345) % COUNT;
        nodes[at].next = &nodes[next];
        nodes[at].value[0] = at;
        at = next;
    }
    struct node *node = nodes;
    for (unsigned long i = 0; i < rounds * COUNT; i++) {
        sum += node->value[0];
        node = node->next;
    }
    return sum + (node == nodes);
}

/* The image of a file system: blocks in memory and, if there is one, on a disk. Part of fs-server.c.
 *
 *     block 0  superblock | 1  bitmap of used blocks | 2 ... 5  inodes | 6 ...  data
 *
 * Blocks go to the disk as they change, data before the inode that names it. What the disk holds is read at the
 * start and checked: nothing in it is believed.
 */
#ifndef FS_IMAGE_H
#define FS_IMAGE_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "eapp.h"
#include "fs_protocol.h"
#include "print.h"

#define MAGIC 0x3173666d76746c70UL /* "pltvmfs1" */
#define BLOCKS 255                 /* as many pages as one mmap of 1 MiB has: ABI section 4 */
#define BITMAP 1
#define FIRST_INODE_BLOCK 2
#define INODE_BLOCKS 4
#define FIRST_DATA (FIRST_INODE_BLOCK + INODE_BLOCKS)
#define INODES (INODE_BLOCKS * (PAGE_SIZE / sizeof(struct inode)))
#define FILE_BLOCKS 92
#define LARGEST_FILE (FILE_BLOCKS * PAGE_SIZE)

struct superblock {
    uint64_t magic;
    uint64_t blocks;
};

struct inode {
    char name[FS_NAME_SIZE]; /* empty: the inode is free */
    uint32_t size;
    uint32_t unused;
    uint16_t blocks[FILE_BLOCKS]; /* 0: all zeros, without a block */
};

_Static_assert(sizeof(struct inode) == 256, "inodes fill their blocks");

static unsigned char (*image)[PAGE_SIZE]; /* NULL until mount */
static unsigned char *bitmap;
static struct inode *inodes;
static volatile unsigned char *window; /* sectors come and go here; the host can change it at any time */

/* -- blocks ---------------------------------------------------------------------------------------------------- */

static long save(unsigned block)
{
    if (!window)
        return 0;
    memcpy((unsigned char *)window, image[block], PAGE_SIZE);
    return eapp_write_sector(block) ? -EIO : 0;
}

static long load(unsigned block)
{
    if (eapp_read_sector(block))
        return -EIO;
    memcpy(image[block], (const unsigned char *)window, PAGE_SIZE);
    return 0;
}

static long save_inode(const struct inode *inode)
{
    return save((unsigned)(((unsigned char *)inode - image[0]) / PAGE_SIZE));
}

static bool is_used(unsigned block)
{
    return bitmap[block / 8] >> block % 8 & 1;
}

static void set_used(unsigned block, bool used)
{
    bitmap[block / 8] = (unsigned char)((bitmap[block / 8] & ~(1 << block % 8)) | used << block % 8);
}

/* A zeroed block, or 0. */
static unsigned take_block(void)
{
    for (unsigned block = FIRST_DATA; block < BLOCKS; block++)
        if (!is_used(block)) {
            set_used(block, true);
            memset(image[block], 0, PAGE_SIZE);
            return block;
        }
    return 0;
}

/* The caller saves the bitmap. */
static void free_blocks(const struct inode *inode)
{
    for (unsigned i = 0; i < FILE_BLOCKS; i++)
        if (inode->blocks[i])
            set_used(inode->blocks[i], false);
}

/* -- the disk -------------------------------------------------------------------------------------------------- */

/* Whether sectors come into the window: without a disk, or when the host has named other memory, they do not. */
static bool sectors_arrive(void)
{
    *(volatile uint64_t *)window = ~MAGIC;
    return eapp_read_sector(0) == 0 && *(volatile uint64_t *)window != ~MAGIC;
}

static bool good_name(const char *name)
{
    if (!name[0] || !memchr(name, '\0', FS_NAME_SIZE))
        return false;
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == 127)
            return false;
    return true;
}

static struct inode *find(const char *name)
{
    for (struct inode *inode = inodes; inode < inodes + INODES; inode++)
        if (inode->name[0] && strcmp(inode->name, name) == 0)
            return inode;
    return NULL;
}

/* Whether the inode makes sense and its blocks are its own; marks them as used. */
static bool claim(struct inode *inode)
{
    char name[FS_NAME_SIZE];

    memcpy(name, inode->name, sizeof name);
    inode->name[0] = '\0'; /* so that find sees the others */
    if (!good_name(name) || find(name) || inode->size > LARGEST_FILE)
        return false;
    for (unsigned i = 0; i < FILE_BLOCKS; i++) {
        unsigned block = inode->blocks[i];

        if (block && (block < FIRST_DATA || block >= BLOCKS || is_used(block))) {
            while (i-- > 0)
                if (inode->blocks[i])
                    set_used(inode->blocks[i], false);
            return false;
        }
        if (block)
            set_used(block, true);
    }
    inode->name[0] = name[0];
    return true;
}

static void make_bitmap(void)
{
    memset(bitmap, 0, PAGE_SIZE);
    for (unsigned block = 0; block < FIRST_DATA; block++)
        set_used(block, true);
}

/* Reads the file system from the disk, which has one: the number of files, or an error. The bitmap is made anew from
 * the inodes, so what a write that was interrupted left behind is free again.
 */
static long load_all(void)
{
    long files = 0, failed = 0;

    for (unsigned block = FIRST_INODE_BLOCK; block < FIRST_DATA; block++)
        failed |= load(block);
    make_bitmap();
    for (struct inode *inode = inodes; inode < inodes + INODES; inode++) {
        if (!inode->name[0])
            continue;
        if (claim(inode)) {
            files++;
        } else {
            eapp_print("[filesystem] a damaged file was dropped\n");
            memset(inode, 0, sizeof *inode);
        }
    }
    for (unsigned block = FIRST_DATA; block < BLOCKS; block++)
        if (is_used(block))
            failed |= load(block);
    return failed ? -EIO : files;
}

static void format(void)
{
    struct superblock *superblock = (struct superblock *)image[0];

    memset(image, 0, BLOCKS * PAGE_SIZE);
    superblock->magic = MAGIC;
    superblock->blocks = BLOCKS;
    make_bitmap();
}

static long format_disk(void)
{
    long failed = 0;

    for (unsigned block = FIRST_DATA; block-- > 0;) /* the superblock comes last */
        failed |= save(block);
    return failed;
}

/* Finds or makes the file system; the disk's sectors come to a page, or NULL. False when there is no memory. */
static bool mount(void *sectors)
{
    static const struct superblock fresh;
    struct superblock found;

    image = eapp_mmap(NULL, BLOCKS * PAGE_SIZE);
    if (!image)
        return false;
    bitmap = image[BITMAP];
    inodes = (struct inode *)image[FIRST_INODE_BLOCK];
    window = sectors;
    format();
    if (!window)
        return true;
    if (!sectors_arrive()) {
        window = NULL;
        return true;
    }
    memcpy(&found, (const unsigned char *)window, sizeof found);
    if (found.magic == MAGIC && found.blocks == BLOCKS) {
        long files = load_all();

        if (files >= 0) {
            eapp_print("[filesystem] %ld files on the disk\n", files);
            return true;
        }
    } else if (memcmp(&found, &fresh, sizeof found) == 0 && format_disk() == 0) {
        eapp_print("[filesystem] made a file system on the disk\n");
        return true;
    }
    eapp_print("[filesystem] the disk is not usable: files are kept in memory\n");
    window = NULL;
    format();
    return true;
}

#endif

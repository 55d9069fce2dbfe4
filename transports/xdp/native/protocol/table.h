/* Streams by token: open addressing, as tokens are as good as random. */
#ifndef LUNAR_XDP_TABLE_H
#define LUNAR_XDP_TABLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t token;
    void *stream; /* NULL: free */
} lunar_table_entry;

typedef struct {
    lunar_table_entry *entries;
    uint32_t mask, count; /* mask + 1 entries, at most half of them in use */
} lunar_table;

bool lunar_table_init(lunar_table *table);
void lunar_table_free(lunar_table *table);
/* False: no memory.  The token is not in it. */
bool lunar_table_put(lunar_table *table, uint64_t token, void *stream);
void lunar_table_remove(lunar_table *table, uint64_t token);

static inline void *lunar_table_get(const lunar_table *table, uint64_t token) {
    for (uint32_t at = (uint32_t)token & table->mask;; at = (at + 1) & table->mask) {
        const lunar_table_entry *entry = &table->entries[at];
        if (!entry->stream || entry->token == token)
            return entry->stream;
    }
}

#endif

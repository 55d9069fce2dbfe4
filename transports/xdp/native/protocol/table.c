#include "table.h"

#include <stdlib.h>

enum { FIRST_ENTRIES = 16 };

bool lunar_table_init(lunar_table *table) {
    table->entries = calloc(FIRST_ENTRIES, sizeof *table->entries);
    table->mask = FIRST_ENTRIES - 1;
    table->count = 0;
    return table->entries;
}

void lunar_table_free(lunar_table *table) {
    free(table->entries);
    table->entries = NULL;
}

static void insert(lunar_table *table, uint64_t token, void *stream) {
    uint32_t at = (uint32_t)token & table->mask;
    while (table->entries[at].stream)
        at = (at + 1) & table->mask;
    table->entries[at] = (lunar_table_entry){token, stream};
}

static bool grow(lunar_table *table) {
    lunar_table larger = {.mask = 2 * table->mask + 1, .count = table->count};
    larger.entries = calloc((size_t)larger.mask + 1, sizeof *larger.entries);
    if (!larger.entries)
        return false;
    for (uint32_t i = 0; i <= table->mask; i++)
        if (table->entries[i].stream)
            insert(&larger, table->entries[i].token, table->entries[i].stream);
    free(table->entries);
    *table = larger;
    return true;
}

bool lunar_table_put(lunar_table *table, uint64_t token, void *stream) {
    if (2 * (table->count + 1) > table->mask && !grow(table))
        return false;
    insert(table, token, stream);
    table->count++;
    return true;
}

void lunar_table_remove(lunar_table *table, uint64_t token) {
    uint32_t mask = table->mask, hole = (uint32_t)token & mask;
    while (table->entries[hole].stream && table->entries[hole].token != token)
        hole = (hole + 1) & mask;
    if (!table->entries[hole].stream)
        return;
    table->count--;
    /* What stands behind moves up unless it is at or behind its own place already: no search ends at the hole. */
    for (uint32_t at = (hole + 1) & mask; table->entries[at].stream; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)table->entries[at].token & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole].stream = NULL;
}

/* A message that is being put together, or that waits to be taken, in memory of the host. */
#ifndef LUNAR_XDP_ASSEMBLY_H
#define LUNAR_XDP_ASSEMBLY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"
#include "wire.h"

typedef struct lunar_assembly {
    lunar_xdp_message message; /* `bytes` NULL: it was taken before, its parts are only counted */
    uint8_t *memory;
    uint32_t first, parts; /* pn of the first one */
    uint32_t got;
    uint64_t *seen; /* a bit for each part; of best effort only */
    struct lunar_assembly *next;
} lunar_assembly;

/* How many parts a message has: one if it is empty. */
static inline uint32_t lunar_assembly_parts(uint32_t size_bytes, uint32_t part_bytes) {
    return size_bytes <= part_bytes ? 1 : (uint32_t)(((uint64_t)size_bytes + part_bytes - 1) / part_bytes);
}

/* Whether a part can be what it says, given the size of parts. */
static inline bool lunar_assembly_is_part(const lunar_wire_data *data, uint32_t part_bytes) {
    if (data->size_bytes <= part_bytes)
        return data->part == 0 && data->payload_bytes == data->size_bytes;
    uint64_t from = (uint64_t)data->part * part_bytes;
    if (from >= data->size_bytes)
        return false;
    uint64_t rest = data->size_bytes - from;
    return data->payload_bytes == (rest < part_bytes ? rest : part_bytes);
}

/* Whether a part says of its message what another said. */
static inline bool lunar_assembly_agrees(const lunar_assembly *assembly, const lunar_wire_data *data) {
    const lunar_xdp_message *message = &assembly->message;
    return message->size_bytes == data->size_bytes && message->sequence == data->sequence &&
           message->source_time_ns == data->source_time_ns && message->dropped == data->dropped;
}

/* From the engine's spare ones; NULL: no memory. */
lunar_assembly *lunar_assembly_new(lunar_xdp_engine *engine, const lunar_wire_data *data, uint32_t parts);
void lunar_assembly_recycle(lunar_xdp_engine *engine, lunar_assembly *assembly);
void lunar_assembly_free_spare(lunar_xdp_engine *engine);

#endif

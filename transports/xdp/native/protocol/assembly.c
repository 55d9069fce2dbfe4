#include "assembly.h"

#include <stdlib.h>

#include "core.h"

lunar_assembly *lunar_assembly_new(lunar_xdp_engine *engine, const lunar_wire_data *data, uint32_t parts) {
    lunar_assembly *assembly = engine->spare;
    if (assembly)
        engine->spare = assembly->next;
    else if (!(assembly = malloc(sizeof *assembly)))
        return NULL;
    *assembly = (lunar_assembly){
        .message = {.size_bytes = data->size_bytes,
                    .dropped = data->dropped,
                    .sequence = data->sequence,
                    .source_time_ns = data->source_time_ns},
        .first = data->pn - data->part,
        .parts = parts,
    };
    return assembly;
}

void lunar_assembly_recycle(lunar_xdp_engine *engine, lunar_assembly *assembly) {
    free(assembly->seen);
    assembly->next = engine->spare;
    engine->spare = assembly;
}

void lunar_assembly_free_spare(lunar_xdp_engine *engine) {
    for (lunar_assembly *assembly; (assembly = engine->spare);) {
        engine->spare = assembly->next;
        free(assembly);
    }
}

/* How much of a granted window is used.
 *
 * A round lasts until all that was sent when it began has arrived.  If more than an eighth of a round was lost, the
 * path or its other end takes less than is sent: half of it then, once a round, and from there on slow growth.  Less
 * than an eighth is taken for noise.  Until the first such round the window doubles each round. / */
#ifndef LUNAR_XDP_CONGESTION_H
#define LUNAR_XDP_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t used, most; /* parts */
    uint32_t round_end, round_parts, lost;
    bool slow, halved; /* ever; in this round */
} lunar_congestion;

enum { LUNAR_CONGESTION_LEAST = 128 };

void lunar_congestion_begin(lunar_congestion *congestion, uint32_t most, uint32_t sent);
/* So many parts were reported lost for the first time.  True: the window was halved. */
bool lunar_congestion_lost(lunar_congestion *congestion, uint32_t count);
/* All below `acked` has arrived, all below `sent` was sent. */
void lunar_congestion_acked(lunar_congestion *congestion, uint32_t acked, uint32_t sent);

#endif

#include "doorbell.h"

#include <sys/eventfd.h>

void lunar_doorbell_ring(int32_t entity, void *doorbell)
{
    lunar_doorbell *self = doorbell;

    (void)entity;
    /* Sequentially consistent: what was stored before the ring is seen by who answers, also if another ring, which this
     * one leaves the system call to, comes first. */
    if (__atomic_exchange_n(&self->rung, 1, __ATOMIC_SEQ_CST) == 0)
        (void)eventfd_write(self->fd, 1); /* fails only when it is full, and then it is readable */
}

void lunar_doorbell_ring_matched(int32_t entity, lunar_matched_status status, void *doorbell)
{
    (void)status;
    __atomic_store_n(&((lunar_doorbell *)doorbell)->matched, 1, __ATOMIC_SEQ_CST);
    lunar_doorbell_ring(entity, doorbell);
}

int lunar_doorbell_answer(lunar_doorbell *doorbell)
{
    int answer = 0;

    /* The descriptor was read before: the other way round a ring in between would be read away while `rung` forbids the
     * next one. */
    if (__atomic_exchange_n(&doorbell->rung, 0, __ATOMIC_SEQ_CST) != 0)
        answer |= LUNAR_DOORBELL_RUNG;
    if (__atomic_exchange_n(&doorbell->matched, 0, __ATOMIC_SEQ_CST) != 0)
        answer |= LUNAR_DOORBELL_MATCHED;
    return answer;
}

/* CHECK: what a test claims; names the place and ends the program when it does not hold. */
#ifndef LUNAR_CHECK_H
#define LUNAR_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(claim)                                                                     \
    do {                                                                                 \
        if (!(claim)) {                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim);   \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

#endif

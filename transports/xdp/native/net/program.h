/* The XDP program, written down as instructions: no compiler is needed where Lunar is installed.
 *
 * Theory.  For each frame that the interface receives: is it UDP to our port, not a fragment, and to one of our
 * addresses?  Then it goes to the AF_XDP socket that serves the queue it came by.  All else goes on to the kernel, as
 * if there were no program: other ports, frames with more than one tag, IPv6 extension headers, fragments, datagrams
 * to an address that is not ours (this machine may be a router, or have containers that use the same port), and frames
 * of a queue that no socket serves.  The order of the questions makes other traffic pay little.
 *
 * The kernel's verifier proves that nothing is read past the end of a frame, so it need not be believed here.
 */
#ifndef LUNAR_XDP_PROGRAM_H
#define LUNAR_XDP_PROGRAM_H

#include <linux/bpf.h>
#include <stdint.h>

#define LUNAR_PROGRAM_MOST 128 /* instructions */

/* The counters, one of each for each CPU: only the one that runs the program writes it. */
typedef enum {
    LUNAR_PROGRAM_TAKEN,    /* given to a socket, which may yet have no room: that counts there */
    LUNAR_PROGRAM_PASSED,   /* to the kernel */
    LUNAR_PROGRAM_UNSERVED, /* to the kernel, although it was for us: no socket serves that queue */
    LUNAR_PROGRAM_COUNTERS,
} lunar_program_counter;

typedef struct {
    uint16_t port;  /* UDP, host order */
    int sockets;    /* XSKMAP, by queue */
    int addresses;  /* hash of 16 bytes, IPv4 mapped as in RFC 4291; any value of 4 bytes */
    int counters;   /* per-CPU array of 8 bytes */
} lunar_program_inputs;

/* How many instructions it has. */
uint32_t lunar_program_write(struct bpf_insn instructions[LUNAR_PROGRAM_MOST], const lunar_program_inputs *inputs);

#endif

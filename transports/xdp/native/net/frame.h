/* Frames: Ethernet, at most one 802.1Q tag, IPv4 or IPv6, UDP.
 *
 * Theory.  All that differs from one frame to the next one to the same destination is its length, so the headers are
 * made once for each destination, with all else already summed up; to send is to copy them in front of the payload,
 * and to put in two lengths and one checksum.  The payload is written before, at its place.
 *
 * Over IPv4 the UDP checksum is left out (RFC 768 has zero for that): Ethernet's covers the way, and the engine checks
 * what it is told.  Over IPv6 it is computed (RFC 8200, 8.1).  Datagrams may not be fragmented on their way: nobody
 * would put them together.
 */
#ifndef LUNAR_XDP_FRAME_H
#define LUNAR_XDP_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "port.h"

#define LUNAR_FRAME_HEADER_BYTES 66 /* the longest: Ethernet 14, tag 4, IPv6 40, UDP 8 */

/* Who sends; addresses in network order, all zero: none of that family. */
typedef struct {
    uint8_t mac[6];
    uint16_t port; /* host order */
    uint8_t ipv4[4];
    uint8_t ipv6[16];
} lunar_frame_source;

typedef struct {
    uint8_t bytes[LUNAR_FRAME_HEADER_BYTES];
    uint8_t size_bytes;
    uint8_t ip_at;
    uint8_t family;
    uint32_t sum; /* of the IPv4 header or the IPv6 pseudo header and the UDP header, without the lengths */
} lunar_frame_header;

/* What the headers of IP and UDP take of the MTU; 0: no such family. */
static inline uint32_t lunar_frame_overhead(uint8_t family) { return family == 4 ? 28 : family == 6 ? 48 : 0; }

/* False when the destination is none: its family, priority or VLAN is out of range. */
bool lunar_frame_prepare(lunar_frame_header *header, const lunar_frame_source *from, const lunar_destination *to);

/* Put the headers in front of the payload, which is at `frame + header->size_bytes`.  The caller has seen to it that
 * the IP packet is no longer than 65,535 bytes.  How long the frame is. */
uint32_t lunar_frame_build(const lunar_frame_header *header, uint8_t *frame, uint32_t payload_bytes);

/* The datagram in a frame, if it is one for this port; false: it is not, or a length in it is a lie.  Whatever the
 * frame holds, nothing outside of it is read.  The UDP checksum is not looked at: a packet that the kernel of the same
 * machine sent over a virtual link has none yet (its CHECKSUM_PARTIAL), and NICs check it in hardware. */
bool lunar_frame_parse(const uint8_t *frame, uint32_t size_bytes, uint16_t port, lunar_datagram *datagram);

#endif

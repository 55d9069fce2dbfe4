#include "frame.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    ETHERNET_BYTES = 14,
    TAG_BYTES = 4,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    UDP_BYTES = 8,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_TAG = 0x8100,
    PROTOCOL_UDP = 17,
    HOPS = 64,
    DO_NOT_FRAGMENT = 0x4000,
    MORE_FRAGMENTS_OR_OFFSET = 0x3fff,
};

static void put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

/* One's complement sum (RFC 1071), not yet folded and in memory's byte order: which order makes no difference. */
static uint64_t sum_of(const uint8_t *bytes, uint32_t size_bytes) {
    uint64_t sum = 0;
    for (; size_bytes >= 4; bytes += 4, size_bytes -= 4) {
        uint32_t word;
        memcpy(&word, bytes, sizeof word);
        sum += word;
    }
    uint8_t rest[4] = {0};
    memcpy(rest, bytes, size_bytes);
    uint32_t word;
    memcpy(&word, rest, sizeof word);
    return sum + word;
}

static uint16_t fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void prepare_ipv4(lunar_frame_header *header, uint8_t *ip, const lunar_frame_source *from,
                         const lunar_destination *to) {
    ip[0] = 0x45;
    put16(ip + 6, DO_NOT_FRAGMENT); /* so the identification may stay 0 (RFC 6864) */
    ip[8] = HOPS;
    ip[9] = PROTOCOL_UDP;
    memcpy(ip + 12, from->ipv4, 4);
    memcpy(ip + 16, to->address, 4);
    header->sum = fold(sum_of(ip, IPV4_BYTES));
}

static void prepare_ipv6(lunar_frame_header *header, uint8_t *ip, const lunar_frame_source *from,
                         const lunar_destination *to) {
    ip[0] = 0x60;
    ip[6] = PROTOCOL_UDP;
    ip[7] = HOPS;
    memcpy(ip + 8, from->ipv6, 16);
    memcpy(ip + 24, to->address, 16);
    header->sum = fold(sum_of(ip + 8, 32) + sum_of(ip + IPV6_BYTES, 4) + htons(PROTOCOL_UDP));
}

bool lunar_frame_prepare(lunar_frame_header *header, const lunar_frame_source *from, const lunar_destination *to) {
    if ((to->family != 4 && to->family != 6) || to->priority > 7 || to->vlan > 4094)
        return false;
    memset(header, 0, sizeof *header);
    header->family = to->family;
    header->ip_at = to->vlan ? ETHERNET_BYTES + TAG_BYTES : ETHERNET_BYTES;
    header->size_bytes = (uint8_t)(header->ip_at + (to->family == 4 ? IPV4_BYTES : IPV6_BYTES) + UDP_BYTES);
    uint8_t *ip = header->bytes + header->ip_at, *udp = header->bytes + header->size_bytes - UDP_BYTES;
    memcpy(header->bytes, to->mac, 6);
    memcpy(header->bytes + 6, from->mac, 6);
    if (to->vlan) {
        put16(header->bytes + 12, TYPE_TAG);
        put16(header->bytes + 14, (uint16_t)(to->priority << 13 | to->vlan));
    }
    put16(ip - 2, to->family == 4 ? TYPE_IPV4 : TYPE_IPV6);
    put16(udp, from->port);
    put16(udp + 2, to->port);
    if (to->family == 4)
        prepare_ipv4(header, ip, from, to);
    else
        prepare_ipv6(header, ip, from, to);
    return true;
}

uint32_t lunar_frame_build(const lunar_frame_header *header, uint8_t *frame, uint32_t payload_bytes) {
    uint8_t *ip = frame + header->ip_at, *udp = frame + header->size_bytes - UDP_BYTES;
    uint32_t udp_bytes = UDP_BYTES + payload_bytes;
    memcpy(frame, header->bytes, header->size_bytes);
    put16(udp + 4, (uint16_t)udp_bytes);
    if (header->family == 4) {
        put16(ip + 2, (uint16_t)(IPV4_BYTES + udp_bytes));
        uint16_t checksum = (uint16_t)~fold((uint64_t)header->sum + htons((uint16_t)(IPV4_BYTES + udp_bytes)));
        memcpy(ip + 10, &checksum, sizeof checksum);
    } else {
        put16(ip + 4, (uint16_t)udp_bytes);
        /* The length counts twice: in the pseudo header and in UDP's own. */
        uint16_t checksum = (uint16_t)~fold((uint64_t)header->sum + 2 * (uint64_t)htons((uint16_t)udp_bytes) +
                                            sum_of(udp + UDP_BYTES, payload_bytes));
        checksum = checksum ? checksum : 0xffff; /* zero says that there is none */
        memcpy(udp + 6, &checksum, sizeof checksum);
    }
    return header->size_bytes + payload_bytes;
}

/* Where UDP begins and how much there is of it, counted from `ip`; false: no whole UDP datagram in there. */
static bool find_in_ipv4(const uint8_t *ip, uint32_t left, uint32_t *at, uint32_t *bytes) {
    if (left < IPV4_BYTES || ip[0] >> 4 != 4)
        return false;
    uint32_t header_bytes = (uint32_t)(ip[0] & 15) * 4, total_bytes = get16(ip + 2);
    if (header_bytes < IPV4_BYTES || total_bytes < header_bytes || total_bytes > left)
        return false;
    if (ip[9] != PROTOCOL_UDP || get16(ip + 6) & MORE_FRAGMENTS_OR_OFFSET || fold(sum_of(ip, header_bytes)) != 0xffff)
        return false;
    *at = header_bytes;
    *bytes = total_bytes - header_bytes;
    return true;
}

/* With extension headers it is the kernel's, as the filter has it. */
static bool find_in_ipv6(const uint8_t *ip, uint32_t left, uint32_t *at, uint32_t *bytes) {
    if (left < IPV6_BYTES || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP || get16(ip + 4) > left - IPV6_BYTES)
        return false;
    *at = IPV6_BYTES;
    *bytes = get16(ip + 4);
    return true;
}

bool lunar_frame_parse(const uint8_t *frame, uint32_t size_bytes, uint16_t port, lunar_datagram *datagram) {
    uint32_t ip_at = ETHERNET_BYTES, at, bytes;
    if (size_bytes < ETHERNET_BYTES + TAG_BYTES)
        return false;
    if (get16(frame + 12) == TYPE_TAG)
        ip_at += TAG_BYTES;
    const uint8_t *ip = frame + ip_at;
    uint16_t type = get16(ip - 2);
    if (type == TYPE_IPV4 ? !find_in_ipv4(ip, size_bytes - ip_at, &at, &bytes)
                          : type != TYPE_IPV6 || !find_in_ipv6(ip, size_bytes - ip_at, &at, &bytes))
        return false;
    const uint8_t *udp = ip + at;
    if (bytes < UDP_BYTES || get16(udp + 2) != port || get16(udp + 4) < UDP_BYTES || get16(udp + 4) > bytes)
        return false;
    datagram->bytes = udp + UDP_BYTES;
    datagram->size_bytes = get16(udp + 4) - UDP_BYTES;
    datagram->port = get16(udp);
    memset(datagram->address, 0, sizeof datagram->address);
    datagram->family = type == TYPE_IPV4 ? 4 : 6;
    if (type == TYPE_IPV4)
        memcpy(datagram->address, ip + 12, 4);
    else
        memcpy(datagram->address, ip + 8, 16);
    return true;
}

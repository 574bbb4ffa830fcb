"""libslirp, the user-mode network of QEMU and slirpvde, bound with cffi in ABI mode: no compiler is needed.

The declarations are those of libslirp.h, version 4 of SlirpConfig (libslirp 4.7, 2022). Who uses them is
``vport.slirp_stack``.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from vport.errors import LinkError

LIBRARY: Final = "libslirp.so.0"
LEAST_VERSION: Final = (4, 7)
CONFIG_VERSION: Final = 4
NEVER: Final = 0xFFFFFFFF  # milliseconds: libslirp's word for no timeout
HOSTFWD_UDP: Final = 1
HOSTFWD_V6ONLY: Final = 2

_CDEF: Final = """
struct in_addr { uint32_t s_addr; };
struct in6_addr { union { uint8_t s6_addr[16]; uint32_t aligned[4]; }; };
struct sockaddr_in { uint16_t sin_family; uint16_t sin_port; struct in_addr sin_addr; uint8_t sin_zero[8]; };
struct sockaddr_in6 { uint16_t sin6_family; uint16_t sin6_port; uint32_t sin6_flowinfo;
                      struct in6_addr sin6_addr; uint32_t sin6_scope_id; };
typedef struct Slirp Slirp;
typedef int SlirpTimerId;
typedef ssize_t (*SlirpWriteCb)(const void *buf, size_t len, void *opaque);
typedef void (*SlirpTimerCb)(void *opaque);
typedef int (*SlirpAddPollCb)(int fd, int events, void *opaque);
typedef int (*SlirpGetREventsCb)(int idx, void *opaque);
typedef struct SlirpCb {
    SlirpWriteCb send_packet;
    void (*guest_error)(const char *msg, void *opaque);
    int64_t (*clock_get_ns)(void *opaque);
    void *(*timer_new)(SlirpTimerCb cb, void *cb_opaque, void *opaque);
    void (*timer_free)(void *timer, void *opaque);
    void (*timer_mod)(void *timer, int64_t expire_time, void *opaque);
    void (*register_poll_fd)(int fd, void *opaque);
    void (*unregister_poll_fd)(int fd, void *opaque);
    void (*notify)(void *opaque);
    void (*init_completed)(Slirp *slirp, void *opaque);
    void *(*timer_new_opaque)(SlirpTimerId id, void *cb_opaque, void *opaque);
} SlirpCb;
typedef struct SlirpConfig {
    uint32_t version;
    int restricted;
    _Bool in_enabled;
    struct in_addr vnetwork;
    struct in_addr vnetmask;
    struct in_addr vhost;
    _Bool in6_enabled;
    struct in6_addr vprefix_addr6;
    uint8_t vprefix_len;
    struct in6_addr vhost6;
    const char *vhostname;
    const char *tftp_server_name;
    const char *tftp_path;
    const char *bootfile;
    struct in_addr vdhcp_start;
    struct in_addr vnameserver;
    struct in6_addr vnameserver6;
    const char **vdnssearch;
    const char *vdomainname;
    size_t if_mtu;
    size_t if_mru;
    _Bool disable_host_loopback;
    _Bool enable_emu;
    struct sockaddr_in *outbound_addr;
    struct sockaddr_in6 *outbound_addr6;
    _Bool disable_dns;
    _Bool disable_dhcp;
} SlirpConfig;
Slirp *slirp_new(const SlirpConfig *cfg, const SlirpCb *callbacks, void *opaque);
void slirp_cleanup(Slirp *slirp);
void slirp_pollfds_fill(Slirp *slirp, uint32_t *timeout, SlirpAddPollCb add_poll, void *opaque);
void slirp_pollfds_poll(Slirp *slirp, int select_error, SlirpGetREventsCb get_revents, void *opaque);
void slirp_input(Slirp *slirp, const uint8_t *pkt, int pkt_len);
void slirp_handle_timer(Slirp *slirp, SlirpTimerId id, void *cb_opaque);
int slirp_add_hostxfwd(Slirp *slirp, const void *haddr, uint32_t haddrlen,
                       const void *gaddr, uint32_t gaddrlen, int flags);
int slirp_remove_hostxfwd(Slirp *slirp, const void *haddr, uint32_t haddrlen, int flags);
int slirp_add_unix(Slirp *slirp, const char *unixsock, struct in_addr *guest_addr, int guest_port);
char *slirp_connection_info(Slirp *slirp);
char *slirp_neighbor_info(Slirp *slirp);
const char *slirp_version_string(void);
void free(void *pointer);
"""


@functools.cache
def load(name: str = LIBRARY) -> tuple[Any, Any]:
    """Load the library once; give cffi's face of C and the library.

    Raises:
        LinkError: it is not installed, or too old; the message says what to install.
    """
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(_CDEF)
    try:
        library = ffi.dlopen(name)
    except OSError as error:
        raise LinkError(
            f"slirp needs the library {name} ({error}); install it: apt install libslirp0, or your "
            "distribution's package libslirp"
        ) from None
    version = ffi.string(library.slirp_version_string()).decode()
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < LEAST_VERSION:
        raise LinkError(f"slirp needs libslirp 4.7 or newer; {name} is {version}")
    return ffi, library


def version() -> str:
    """Give the version of the library. Raises LinkError when it is missing."""
    ffi, library = load()
    text: str = ffi.string(library.slirp_version_string()).decode()
    return text

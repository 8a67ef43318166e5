/**
 * The true reason of a failed TCP connect under Bun. Bun 1.4 reports every failed connect as ECONNREFUSED, also "network
 * unreachable" and "no route to host"; a tool that says why must know. This asks the system once more, with a socket of its
 * own, and reads the error number. Other runtimes report it themselves and never come here.
 */
import type { Clock } from "../base/clock.ts";
import { sleep } from "../base/clock.ts";

const AF_INET = 2, SOCK_STREAM = 1, POLLOUT = 4;
/** Numbers that differ between the two systems the tool is built for. */
const SYSTEM = process.platform === "darwin"
  ? {
    library: "libSystem.B.dylib",
    errno: "__error",
    AF_INET6: 30,
    O_NONBLOCK: 4,
    SOL_SOCKET: 0xffff,
    SO_ERROR: 0x1007,
    EINPROGRESS: 36,
    hasLength: true,
  }
  : {
    library: "libc.so.6",
    errno: "__errno_location",
    AF_INET6: 10,
    O_NONBLOCK: 0x800,
    SOL_SOCKET: 1,
    SO_ERROR: 4,
    EINPROGRESS: 115,
    hasLength: false,
  };
const NAMES: Record<number, string> = process.platform === "darwin"
  ? {
    1: "EPERM",
    13: "EACCES",
    49: "EADDRNOTAVAIL",
    50: "ENETDOWN",
    51: "ENETUNREACH",
    60: "ETIMEDOUT",
    61: "ECONNREFUSED",
    64: "EHOSTDOWN",
    65: "EHOSTUNREACH",
  }
  : {
    1: "EPERM",
    13: "EACCES",
    99: "EADDRNOTAVAIL",
    100: "ENETDOWN",
    101: "ENETUNREACH",
    110: "ETIMEDOUT",
    111: "ECONNREFUSED",
    112: "EHOSTDOWN",
    113: "EHOSTUNREACH",
  };
const F_SETFL = 4;
const POLL_MS = 10;

interface Libc {
  socket(family: number, type: number, protocol: number): number;
  fcntl(fd: number, command: number, flags: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  poll(fds: Uint8Array, count: number, timeoutMs: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array): number;
  close(fd: number): number;
  errno(): number;
}

let libc: Promise<Libc | undefined> | undefined;

/** Opens the C library once; undefined where that is not possible. */
function openLibc(): Promise<Libc | undefined> {
  return libc ??= (async () => {
    try {
      // A name in a variable: other runtimes neither have nor check this module.
      const name = "bun:ffi";
      const ffi = await import(name);
      const { symbols } = ffi.dlopen(SYSTEM.library, {
        socket: { args: ["i32", "i32", "i32"], returns: "i32" },
        fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
        connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
        poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
        getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
        close: { args: ["i32"], returns: "i32" },
        [SYSTEM.errno]: { args: [], returns: "ptr" },
      });
      return { ...symbols, errno: () => ffi.read.i32(symbols[SYSTEM.errno](), 0) };
    } catch {
      return undefined;
    }
  })();
}

/** Whether this runtime hides why a connect failed. */
export const HIDES_CONNECT_ERRORS = "Bun" in globalThis;

/**
 * Connects once more and returns the system's word for what happened, such as EHOSTUNREACH; undefined when the connect
 * works now, takes longer than `timeoutMs`, or cannot be tried. `ip` holds 4 or 16 bytes.
 */
export async function connectErrorOf(
  ip: Uint8Array,
  port: number,
  timeoutMs: number,
  clock: Clock,
): Promise<string | undefined> {
  const lib = await openLibc();
  if (lib === undefined) return undefined;
  const family = ip.length === 4 ? AF_INET : SYSTEM.AF_INET6;
  const fd = lib.socket(family, SOCK_STREAM, 0);
  if (fd < 0) return undefined;
  try {
    lib.fcntl(fd, F_SETFL, SYSTEM.O_NONBLOCK);
    const address = socketAddress(family, ip, port);
    if (lib.connect(fd, address, address.length) === 0) return undefined;
    const errno = lib.errno();
    if (errno !== SYSTEM.EINPROGRESS) return NAMES[errno];
    const untilMs = clock.nowMs() + timeoutMs;
    // struct pollfd { int fd; short events; short revents; }
    const poll = new Uint8Array(8);
    new DataView(poll.buffer).setInt32(0, fd, true);
    poll[4] = POLLOUT;
    while (lib.poll(poll, 1, 0) === 0) {
      if (clock.nowMs() >= untilMs) return undefined;
      await sleep(clock, POLL_MS);
    }
    const value = new Uint8Array(4), length = Uint8Array.of(4, 0, 0, 0);
    if (lib.getsockopt(fd, SYSTEM.SOL_SOCKET, SYSTEM.SO_ERROR, value, length) !== 0) return undefined;
    return NAMES[new DataView(value.buffer).getInt32(0, true)];
  } finally {
    lib.close(fd);
  }
}

/** struct sockaddr_in or sockaddr_in6 of this system. */
function socketAddress(family: number, ip: Uint8Array, port: number): Uint8Array {
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  if (SYSTEM.hasLength) {
    bytes[0] = bytes.length;
    bytes[1] = family;
  } else bytes[0] = family;
  bytes[2] = port >> 8;
  bytes[3] = port;
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  return bytes;
}

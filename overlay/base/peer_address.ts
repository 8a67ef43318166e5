/** Addresses of peers: text in and out, the kinds of IP addresses, and the form they have on the wire. */
import { OverlayError } from "./errors.ts";

/** Where a peer listens. Made by {@link parsePeerAddress} and {@link addressOfWire}, so equal addresses have equal text. */
export interface PeerAddress {
  /** IPv4 text, IPv6 text without brackets in RFC 5952 form, or a host name in lower case. */
  host: string;
  /** 1 to 65535. */
  port: number;
}

/** What a user names: an address, and the node that must answer there. */
export interface Target {
  address: PeerAddress;
  /** Strkey text "G..." of the expected node. Its form is checked; its checksum is for whoever decodes it. */
  nodeId?: string;
}

/** What an IP address is for. Only "public" ones can be reached over the internet. */
export type IpKind =
  | "public"
  | "private"
  | "loopback"
  | "linkLocal"
  | "multicast"
  | "unspecified"
  | "broadcast"
  | "sharedNat"
  | "documentation"
  | "benchmark"
  | "reserved";

/** stellar-core's PEER_PORT unless configured. */
export const DEFAULT_PEER_PORT = 11625;

const NODE_ID = /^G[A-Z2-7]{55}$/;

/** Whether `text` has the form of a strkey node id: "G" and 55 base-32 characters. The checksum is not checked. */
export function looksLikeNodeId(text: string): boolean {
  return NODE_ID.test(text);
}

/**
 * Reads `a.b.c.d[:port]`, `name[:port]`, `[v6][:port]` or a bare IPv6 address. An IPv4-mapped IPv6 address becomes IPv4. A
 * bare IPv6 address takes all colons: `::1:11625` has the default port. Throws `bad_address`.
 * Source: stellar-core PeerBareAddress.cpp resolve, which knows IPv4 and names only; we also allow `_` in a name.
 */
export function parsePeerAddress(text: string, defaultPort = DEFAULT_PEER_PORT): PeerAddress {
  if (text === "") throw bad(text, "it is empty");
  if (/[\s\x00-\x1f\x7f]/.test(text)) throw bad(text, "it contains a blank or control character");
  if (text.includes("/")) {
    throw bad(
      text,
      text.includes("://") ? "it is a URL; leave the scheme out" : "a mask or path is not part of an address",
    );
  }
  if (text.startsWith("[")) {
    const end = text.indexOf("]");
    if (end < 0) throw bad(text, "the ] is missing");
    return { host: hostOfIpv6(text, text.slice(1, end)), port: portAfter(text, text.slice(end + 1), defaultPort) };
  }
  const colon = text.indexOf(":");
  if (colon >= 0 && text.indexOf(":", colon + 1) >= 0) return { host: hostOfIpv6(text, text), port: defaultPort };
  const host = colon < 0 ? text : text.slice(0, colon);
  return { host: hostOfName(text, host), port: portAfter(text, colon < 0 ? "" : text.slice(colon), defaultPort) };
}

/** Reads `[G...@]address`, the address as {@link parsePeerAddress} does. Throws `bad_address`. */
export function parseTarget(text: string, defaultPort = DEFAULT_PEER_PORT): Target {
  const at = text.indexOf("@");
  if (at < 0) return { address: parsePeerAddress(text, defaultPort) };
  const nodeId = text.slice(0, at);
  if (!looksLikeNodeId(nodeId)) throw bad(text, "the part before @ is not a node id (G and 55 letters or digits)");
  return { address: parsePeerAddress(text.slice(at + 1), defaultPort), nodeId };
}

/** `1.2.3.4:11625`, `name:11625` or `[::1]:11625`: always with the port, the form {@link parsePeerAddress} reads back. */
export function formatAddress(address: PeerAddress): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** 4 or 6 when `host` is an IP address, 0 when it is a name. */
export function ipVersion(host: string): 0 | 4 | 6 {
  if (host.includes(":")) return ipv6Bytes(host) ? 6 : 0;
  return ipv4Bytes(host) ? 4 : 0;
}

/**
 * What `ip` is for, or null when it is no IP address. IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4) have the
 * kind of that address. Source: the IANA special-purpose address registries.
 */
export function kindOfIp(ip: string): IpKind | null {
  const bytes = ip.includes(":") ? ipv6Bytes(ip) : ipv4Bytes(ip);
  if (bytes === null) return null;
  return bytes.length === 4 ? kindOfIpv4(bytes) : kindOfIpv6(bytes);
}

/** Which addresses beyond the public ones may be dialled. */
export interface DialPolicy {
  /** Also private, carrier-NAT (100.64.0.0/10) and benchmark (198.18.0.0/15) addresses. */
  allowPrivate?: boolean;
  /** Also this machine. */
  allowLoopback?: boolean;
}

/** Whether `ip` may be dialled. False for a name: resolve it first, or a name of a public zone reaches into our own network. */
export function isDialable(ip: string, policy: DialPolicy = {}): boolean {
  switch (kindOfIp(ip)) {
    case "public":
      return true;
    case "private":
    case "sharedNat":
    case "benchmark":
      return policy.allowPrivate === true;
    case "loopback":
      return policy.allowLoopback === true;
    default:
      return false;
  }
}

/**
 * The block that shares a budget with `ip`: its /24 for IPv4 (`1.2.3.0/24`), its /48 for IPv6 (`2001:db8:1::/48`), what one
 * customer usually holds. A name is its own block.
 */
export function subnet24(ip: string): string {
  if (ip.includes(":")) {
    const bytes = ipv6Bytes(ip);
    return bytes ? `${ipv6Text(bytes.fill(0, 6))}/48` : ip;
  }
  const bytes = ipv4Bytes(ip);
  return bytes ? `${bytes[0]}.${bytes[1]}.${bytes[2]}.0/24` : ip;
}

/** The address a peer sent: 4 or 16 bytes and any uint32. Null when the port is outside 1..65535 or the length is another. */
export function addressOfWire(ip: Uint8Array, port: number): PeerAddress | null {
  if (!(port >= 1 && port <= 65535)) return null;
  if (ip.length === 4) return { host: ip.join("."), port };
  if (ip.length === 16) return { host: ipv6Text(ip), port };
  return null;
}

/** The bytes of an address for a PEERS message. Null for a name: only resolved addresses go on the wire. */
export function wireOfAddress(address: PeerAddress): { ip: Uint8Array; port: number } | null {
  const ip = address.host.includes(":") ? ipv6Bytes(address.host) : ipv4Bytes(address.host);
  return ip && { ip, port: address.port };
}

/** stellar-core's order of addresses: port first, then the host as text. Source: PeerBareAddress.cpp operator<. */
export function compareAddresses(a: PeerAddress, b: PeerAddress): number {
  return a.port - b.port || (a.host < b.host ? -1 : a.host > b.host ? 1 : 0);
}

function bad(text: string, reason: string): OverlayError {
  return new OverlayError({ code: "bad_address", text: text.length > 200 ? text.slice(0, 200) + "..." : text, reason });
}

/** The port in `rest`, which is empty or starts with a colon. */
function portAfter(text: string, rest: string, defaultPort: number): number {
  if (rest === "") return defaultPort;
  if (rest[0] !== ":") throw bad(text, "only :port may follow the ]");
  const digits = rest.slice(1);
  if (digits === "") throw bad(text, "the port after : is empty");
  if (!/^[0-9]+$/.test(digits)) throw bad(text, "the port is not a number");
  const port = digits.length > 5 ? Infinity : Number(digits);
  if (port === 0) throw bad(text, "port 0 is not usable");
  if (port > 65535) throw bad(text, "the port is above 65535");
  return port;
}

function hostOfIpv6(text: string, host: string): string {
  if (host.includes("%")) throw bad(text, "an IPv6 zone (%...) is not supported");
  const bytes = ipv6Bytes(host);
  if (bytes === null) throw bad(text, "it is not an IPv6 address");
  return ipv6Text(bytes);
}

function hostOfName(text: string, host: string): string {
  if (host === "") throw bad(text, "the host is empty");
  if (ipv4Bytes(host)) return host;
  const labels = host.split(".");
  if (labels.length > 1 && labels.at(-1) === "") labels.pop();
  // System resolvers read a name whose last label is a number as IPv4 in old notations: 0x7f000001, 127.1.
  if (/^([0-9]+|0[xX][0-9a-fA-F]*)$/.test(labels.at(-1)!)) {
    throw bad(text, "it is not an IPv4 address: four numbers from 0 to 255 without leading zeros");
  }
  if (host.length > 253) throw bad(text, "the host name is longer than 253 characters");
  for (const label of labels) {
    if (label === "" || label.length > 63) throw bad(text, "each part of a host name has 1 to 63 characters");
    if (!/^[A-Za-z0-9_-]+$/.test(label)) throw bad(text, "a host name has only letters, digits, '.', '-' and '_'");
    if (label.startsWith("-") || label.endsWith("-")) throw bad(text, "no part of a host name starts or ends with '-'");
  }
  return host.toLowerCase();
}

function ipv4Bytes(text: string): Uint8Array | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(parts[i])) return null;
    const value = Number(parts[i]);
    if (value > 255) return null;
    bytes[i] = value;
  }
  return bytes;
}

function ipv6Bytes(text: string): Uint8Array | null {
  if (text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = ipv6Groups(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? ipv6Groups(halves[1], true) : [];
  if (head === null || tail === null) return null;
  const length = head.length + tail.length;
  if (halves.length === 1 ? length !== 16 : length > 14) return null;
  const bytes = new Uint8Array(16);
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** The bytes of groups between colons; the last may be IPv4 text when `last`. */
function ipv6Groups(text: string, last: boolean): number[] | null {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (let i = 0; i < groups.length; i++) {
    if (/^[0-9a-fA-F]{1,4}$/.test(groups[i])) {
      const value = parseInt(groups[i], 16);
      bytes.push(value >> 8, value & 255);
      continue;
    }
    const ipv4 = last && i === groups.length - 1 ? ipv4Bytes(groups[i]) : null;
    if (ipv4 === null) return null;
    bytes.push(...ipv4);
  }
  return bytes;
}

function startsWith(bytes: Uint8Array, ...prefix: number[]): boolean {
  return prefix.every((value, i) => bytes[i] === value);
}

function isMapped(bytes: Uint8Array): boolean {
  return startsWith(bytes, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255);
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. Mapped becomes IPv4. */
function ipv6Text(bytes: Uint8Array): string {
  if (isMapped(bytes)) return bytes.subarray(12).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1]);
  let start = 0, length = 0;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    i = Math.max(i, end - 1);
  }
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

function kindOfIpv4(ip: Uint8Array): IpKind {
  const [a, b, c] = ip;
  if (a === 0) return b === 0 && c === 0 && ip[3] === 0 ? "unspecified" : "reserved";
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)) return "private";
  if (a === 127) return "loopback";
  if (a === 169 && b === 254) return "linkLocal";
  if (a === 100 && b >= 64 && b < 128) return "sharedNat";
  if (a === 198 && (b === 18 || b === 19)) return "benchmark";
  if (
    (a === 192 && b === 0 && c === 2) || (a === 198 && b === 51 && c === 100) || (a === 203 && b === 0 && c === 113)
  ) {
    return "documentation";
  }
  if (a === 192 && b === 0 && c === 0) return "reserved";
  if (a === 192 && b === 88 && c === 99) return "reserved";
  if (a >= 224 && a < 240) return "multicast";
  if (a >= 240) return startsWith(ip, 255, 255, 255, 255) ? "broadcast" : "reserved";
  return "public";
}

function kindOfIpv6(ip: Uint8Array): IpKind {
  if (isMapped(ip)) return kindOfIpv4(ip.subarray(12));
  if (startsWith(ip, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)) return kindOfIpv4(ip.subarray(12));
  if (startsWith(ip, 0, 0x64, 0xff, 0x9b, 0, 1)) return "private";
  if (startsWith(ip, 0x20, 0x02)) return kindOfIpv4(ip.subarray(2, 6));
  if (startsWith(ip, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)) {
    return ip[15] === 0 ? "unspecified" : ip[15] === 1 ? "loopback" : "reserved";
  }
  if (ip[0] === 0xff) return "multicast";
  if (ip[0] === 0xfe && (ip[1] & 0xc0) === 0x80) return "linkLocal";
  if ((ip[0] & 0xfe) === 0xfc || (ip[0] === 0xfe && (ip[1] & 0xc0) === 0xc0)) return "private";
  if (startsWith(ip, 0x20, 0x01, 0x0d, 0xb8) || (startsWith(ip, 0x3f, 0xff) && (ip[2] & 0xf0) === 0)) {
    return "documentation";
  }
  if (startsWith(ip, 0x20, 0x01, 0, 2, 0, 0)) return "benchmark";
  // 2001::/23 is for protocols (Teredo, ORCHID); 2000::/3 is all that is assigned for ordinary use.
  if (startsWith(ip, 0x20, 0x01) && ip[2] < 2) return "reserved";
  return (ip[0] & 0xe0) === 0x20 ? "public" : "reserved";
}

import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isFailure, OverlayError } from "./errors.ts";
import {
  addressOfWire,
  compareAddresses,
  formatAddress,
  type IpKind,
  ipVersion,
  isDialable,
  kindOfIp,
  parsePeerAddress,
  parseTarget,
  subnet24,
  wireOfAddress,
} from "./peer_address.ts";

const NODE = "GCGB2S2KGYARPVIA37HYZXVRM2YZUEXA6S33ZU5BUDC6THSB62LZSTYH";

test("parsePeerAddress reads every accepted form into one canonical text", () => {
  const cases: [string, string][] = [
    ["127.0.0.2", "127.0.0.2:11625"],
    ["127.0.0.2:1", "127.0.0.2:1"],
    ["127.0.0.2:1234", "127.0.0.2:1234"],
    ["127.0.0.2:65534", "127.0.0.2:65534"],
    ["127.0.0.2:65535", "127.0.0.2:65535"],
    ["0.0.0.0:80", "0.0.0.0:80"],
    ["Core-Live-A.Stellar.org", "core-live-a.stellar.org:11625"],
    ["core-live-a.stellar.org:11626", "core-live-a.stellar.org:11626"],
    ["localhost:7000", "localhost:7000"],
    ["stellar_core_1", "stellar_core_1:11625"],
    ["1password.com", "1password.com:11625"],
    ["example.com.", "example.com.:11625"],
    ["[::1]:80", "[::1]:80"],
    ["[::1]", "[::1]:11625"],
    ["::1", "[::1]:11625"],
    ["::", "[::]:11625"],
    ["2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:11625"],
    ["2001:db8:0:1:1:1:1:1", "[2001:db8:0:1:1:1:1:1]:11625"],
    ["[2001:0db8::0001]:5", "[2001:db8::1]:5"],
    ["1:2:3:4:5:6:7::", "[1:2:3:4:5:6:7:0]:11625"],
    ["::ffff:1.2.3.4", "1.2.3.4:11625"],
    ["[::ffff:102:304]:9", "1.2.3.4:9"],
    ["64:ff9b::1.2.3.4", "[64:ff9b::102:304]:11625"],
  ];
  for (const [text, expected] of cases) assert.equal(formatAddress(parsePeerAddress(text)), expected, text);
  assert.deepEqual(parsePeerAddress("127.0.0.2", 10), { host: "127.0.0.2", port: 10 });
});

test("parsePeerAddress refuses what is not an address, and says why", () => {
  const cases: [string, RegExp][] = [
    ["", /empty/],
    ["random string", /blank/],
    [" 1.2.3.4", /blank/],
    ["1.2.3.4\n", /blank/],
    ["1.2.3.4\u0000", /control/],
    ["127.0.0.256", /not an IPv4/],
    ["256.256.256.256", /not an IPv4/],
    ["256.1.1.1:11625", /not an IPv4/],
    ["999.1.1.1", /not an IPv4/],
    ["1.2.3", /not an IPv4/],
    ["1.2.3.4.5", /not an IPv4/],
    ["01.2.3.4", /not an IPv4/],
    ["127.1", /not an IPv4/],
    ["2130706433", /not an IPv4/],
    ["0x7f000001", /not an IPv4/],
    ["127.0.0.1/24", /mask/],
    ["127.0.0.1:256/24", /mask/],
    ["2001:db8::/32", /mask/],
    ["https://example.com", /URL/],
    ["127.0.0.2:", /empty/],
    ["[::1]:", /empty/],
    [":11625", /host is empty/],
    ["127.0.0.2:-1", /not a number/],
    ["127.0.0.2:+1", /not a number/],
    ["127.0.0.2:1e3", /not a number/],
    ["127.0.0.2:0", /port 0/],
    ["127.0.0.2:00000", /port 0/],
    ["127.0.0.2:65536", /above 65535/],
    ["127.0.0.2:65537", /above 65535/],
    ["127.0.0.2:111111111111111111111", /above 65535/],
    ["[::1]11625", /only :port/],
    ["[::1", /\] is missing/],
    ["[127.0.0.1]:80", /not an IPv6/],
    ["2001:db8::1::2", /not an IPv6/],
    ["1:2:3:4:5:6:7", /not an IPv6/],
    ["1:2:3:4:5:6:7:8:9", /not an IPv6/],
    ["1:2:3:4:5:6:7:8::", /not an IPv6/],
    ["12345::", /not an IPv6/],
    ["::1.2.3.4:5", /not an IPv6/],
    ["1.2.3.4::", /not an IPv6/],
    [":::", /not an IPv6/],
    ["127.0.0.1:1:2", /not an IPv6/],
    ["fe80::1%eth0", /zone/],
    ["a..b", /1 to 63/],
    [".", /1 to 63/],
    ["a".repeat(64), /1 to 63/],
    ["a.".repeat(200) + "a", /253/],
    ["-a.com", /'-'/],
    ["exämple.com", /only letters/],
    ["a@b", /only letters/],
  ];
  for (const [text, reason] of cases) {
    assert.throws(() => parsePeerAddress(text), (error) => {
      assert.ok(isFailure("bad_address")(error), text);
      const failure = (error as OverlayError).failure;
      assert.ok(failure.code === "bad_address" && reason.test(failure.reason), `${text}: ${JSON.stringify(failure)}`);
      return true;
    });
  }
});

test("parseTarget takes an expected node id before the address", () => {
  assert.deepEqual(parseTarget(`${NODE}@1.2.3.4`), { address: { host: "1.2.3.4", port: 11625 }, nodeId: NODE });
  assert.deepEqual(parseTarget(`${NODE}@[::1]:9`), { address: { host: "::1", port: 9 }, nodeId: NODE });
  assert.deepEqual(parseTarget("a.b:9"), { address: { host: "a.b", port: 9 } });
  for (
    const text of [`${NODE.slice(1)}@1.2.3.4`, `@1.2.3.4`, `${NODE}@`, `user@host`, `${NODE}`.toLowerCase() + "@h"]
  ) {
    assert.throws(() => parseTarget(text), isFailure("bad_address"), text);
  }
});

const arbIpv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const arbIpv6 = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 65535 })), { minLength: 8, maxLength: 8 })
  .map(
    (groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255])),
  );
const arbPort = fc.integer({ min: 1, max: 65535 });
const arbName = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}$/);

test("parsePeerAddress reads back what formatAddress writes, from any wire address or name", () => {
  fc.assert(fc.property(fc.oneof(arbIpv4, arbIpv6), arbPort, (ip, port) => {
    const address = addressOfWire(ip, port)!;
    assert.deepEqual(parsePeerAddress(formatAddress(address)), address);
    const wire = wireOfAddress(address)!;
    assert.equal(wire.port, port);
    assert.deepEqual(wire.ip, wire.ip.length === ip.length ? ip : ip.slice(12));
    assert.notEqual(kindOfIp(address.host), null);
  }));
  fc.assert(fc.property(arbName, arbPort, (host, port) => {
    assert.deepEqual(parsePeerAddress(formatAddress({ host, port })), { host, port });
  }));
});

test("parsePeerAddress answers any text with an address it reads back, or with bad_address", () => {
  const arbText = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom(..."0123456789abcdefx:.[]%/-@") }),
  );
  fc.assert(fc.property(arbText, (text) => {
    let address;
    try {
      address = parsePeerAddress(text);
    } catch (error) {
      assert.ok(isFailure("bad_address")(error));
      return;
    }
    assert.deepEqual(parsePeerAddress(formatAddress(address)), address);
  }));
});

test("kindOfIp knows the special-purpose blocks", () => {
  const cases: [IpKind, string[]][] = [
    ["public", ["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1", "2002:808:808::1"]],
    ["public", ["64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "223.255.255.255"]],
    ["private", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"]],
    ["private", ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1"]],
    ["loopback", ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"]],
    ["linkLocal", ["169.254.169.254", "fe80::1", "febf::1"]],
    ["multicast", ["224.0.0.1", "239.255.255.255", "ff02::1"]],
    ["unspecified", ["0.0.0.0", "::"]],
    ["broadcast", ["255.255.255.255"]],
    ["sharedNat", ["100.64.0.1", "100.127.255.255"]],
    ["documentation", ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]],
    ["benchmark", ["198.18.0.1", "198.19.255.255", "2001:2::1"]],
    ["reserved", ["0.1.2.3", "240.0.0.1", "192.0.0.8", "::2", "::1.2.3.4", "4000::1", "100::1", "2001::1"]],
  ];
  for (const [kind, ips] of cases) for (const ip of ips) assert.equal(kindOfIp(ip), kind, ip);
  for (const text of ["example.com", "", "1.2.3", "1.2.3.4:5", "::g"]) assert.equal(kindOfIp(text), null, text);
  assert.deepEqual(["1.2.3.4", "::1", "a.b"].map(ipVersion), [4, 6, 0]);
});

test("isDialable allows public addresses, and others only when told", () => {
  assert.equal(isDialable("8.8.8.8"), true);
  assert.equal(isDialable("10.0.0.1"), false);
  assert.equal(isDialable("10.0.0.1", { allowPrivate: true }), true);
  assert.equal(isDialable("100.64.0.1", { allowPrivate: true }), true);
  assert.equal(isDialable("127.0.0.1", { allowPrivate: true }), false);
  assert.equal(isDialable("::1", { allowLoopback: true }), true);
  // The address of a cloud's metadata service.
  assert.equal(isDialable("169.254.169.254", { allowPrivate: true, allowLoopback: true }), false);
  assert.equal(isDialable("::ffff:10.0.0.1"), false);
  assert.equal(isDialable("example.com", { allowPrivate: true, allowLoopback: true }), false);
});

test("subnet24 groups by /24 and /48", () => {
  assert.equal(subnet24("1.2.3.4"), "1.2.3.0/24");
  assert.equal(subnet24("2001:db8:1:2::3"), "2001:db8:1::/48");
  assert.equal(subnet24("::1"), "::/48");
  assert.equal(subnet24("a.example"), "a.example");
});

test("addressOfWire refuses ports and lengths that cannot be dialled", () => {
  const ip = Uint8Array.of(1, 2, 3, 4);
  assert.deepEqual(addressOfWire(ip, 11625), { host: "1.2.3.4", port: 11625 });
  for (const port of [0, 65536, 4294967295, -1, NaN]) assert.equal(addressOfWire(ip, port), null);
  assert.equal(addressOfWire(ip.subarray(1), 1), null);
  assert.equal(wireOfAddress({ host: "a.b", port: 1 }), null);
});

test("compareAddresses orders by port, then host text", () => {
  const texts = ["9.0.0.1:1", "10.0.0.1:2", "9.0.0.1:2"];
  const sorted = [...texts].reverse().map((text) => parsePeerAddress(text)).sort(compareAddresses).map(formatAddress);
  assert.deepEqual(sorted, texts);
});

import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Role } from "../auth/session_keys.ts";
import { isFailure } from "../base/errors.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import {
  acceptDial,
  acceptPending,
  type Admission,
  admit,
  type InboundPending,
  type ListedPeer,
  type PendingVerdict,
  PreferredPeers,
} from "./admission.ts";

interface TestPeer extends ListedPeer {
  name: string;
  role: Role;
}

/** A peer whose node id is 32 times `n`, listening on 10.0.0.n:n. */
function peer(n: number, role: Role = "remoteCalledUs"): TestPeer {
  return { name: `${n}`, nodeId: new Uint8Array(32).fill(n), address: { host: `10.0.0.${n}`, port: n }, role };
}

const nobody = () => false;
const only = (...ns: number[]) => (other: ListedPeer) => ns.includes(other.nodeId[0]);
const limits = (target: number, additional: number, preferredPeersOnly = false) => ({
  targetPeerConnections: target,
  maxAdditionalPeerConnections: additional,
  preferredPeersOnly,
});

/** The answer in short: "admit", "reject", or "evict 7"; checks texts and codes on the way. */
function brief(answer: Admission<TestPeer>): string {
  assert.match(answer.reason, /^[a-z0-9].{10,}[^.]$/);
  if (answer.do === "admit") return "admit";
  assert.equal(answer.drop.error, "ERR_LOAD");
  assert.equal(answer.drop.reason, answer.do === "reject" ? "peer rejected" : "preferred peer selected instead");
  assert.equal(answer.drop.failure.code, "local_close");
  return answer.do === "reject" ? "reject" : `evict ${answer.victim.name}`;
}

const ROLES: [Role, string][] = [["remoteCalledUs", "inbound"], ["weCalledRemote", "outbound"]];

for (const [role, name] of ROLES) {
  const lists = (...peers: TestPeer[]) => ({
    inbound: role === "remoteCalledUs" ? peers : [],
    outbound: role === "weCalledRemote" ? peers : [],
  });
  const one = role === "weCalledRemote" ? limits(1, 0) : limits(0, 1);

  test(`scenario: reject non preferred peer, ${name}`, () => {
    const strict = limits(8, 64, true);
    const answer = admit(peer(1, role), lists(), strict, nobody);
    assert.equal(brief(answer), "reject");
    assert.match(answer.reason, /only preferred/);
  });

  test(`scenario: accept preferred peer even when strict, ${name}`, () => {
    assert.equal(brief(admit(peer(1, role), lists(), limits(8, 64, true), only(1))), "admit");
  });

  test(`scenario: reject peers beyond max, ${name}`, () => {
    const a = peer(1, role), c = peer(2, role);
    assert.equal(brief(admit(a, lists(), one, nobody)), "admit");
    const answer = admit(c, lists(a), one, nobody);
    assert.equal(brief(answer), "reject");
    assert.match(answer.reason, new RegExp(`all 1 ${name} slots are taken`));
  });

  test(`scenario: reject peers beyond max - preferred peer wins, preferred connects first, ${name}`, () => {
    const a = peer(1, role), c = peer(2, role);
    assert.equal(brief(admit(c, lists(), one, only(2))), "admit");
    assert.equal(brief(admit(a, lists(c), one, only(2))), "reject");
  });

  test(`scenario: reject peers beyond max - preferred peer wins, preferred connects second, ${name}`, () => {
    const a = peer(1, role), c = peer(2, role);
    assert.equal(brief(admit(a, lists(), one, only(2))), "admit");
    const answer = admit(c, lists(a), one, only(2));
    assert.equal(brief(answer), "evict 1");
    assert.ok(answer.reason.includes(encodeNodeId(a.nodeId)));
  });

  test(`admit decides as the table of peers.md section 7, ${name}`, () => {
    const three = role === "weCalledRemote" ? limits(3, 0) : limits(0, 3);
    const strict = { ...three, preferredPeersOnly: true };
    const [p2, p5, p9] = [2, 5, 9].map((n) => peer(n, role));
    const table: [newcomer: number, there: TestPeer[], preferred: number[], config: typeof three, expected: string][] =
      [
        [1, [p2, p5], [], three, "admit"],
        [1, [p2, p5], [1], three, "admit"],
        [1, [p2, p5], [], strict, "reject"],
        [1, [p2, p5], [1], strict, "admit"],
        [1, [p9, p5, p2], [], three, "reject"],
        [1, [p9, p5, p2], [1], three, "evict 2"],
        [1, [p9, p5, p2], [1, 2], three, "evict 5"],
        [1, [p9, p5, p2], [1, 2], strict, "evict 5"],
        [1, [p9, p5, p2], [1, 2, 5, 9], three, "reject"],
        [1, [], [], role === "weCalledRemote" ? limits(0, 9) : limits(9, 0), "reject"],
        [1, [], [1], role === "weCalledRemote" ? limits(0, 9) : limits(9, 0), "reject"],
      ];
    for (const [n, there, preferred, config, expected] of table) {
      assert.equal(brief(admit(peer(n, role), lists(...there), config, only(...preferred))), expected);
    }
  });
}

test("admit counts inbound and outbound peers apart", () => {
  const lists = { inbound: [peer(1)], outbound: [peer(2, "weCalledRemote"), peer(3, "weCalledRemote")] };
  assert.equal(brief(admit(peer(4), lists, limits(2, 2), nobody)), "admit");
  assert.equal(brief(admit(peer(4, "weCalledRemote"), lists, limits(2, 2), nobody)), "reject");
});

test("admit keeps every list within its limit, and preferred peers where they are", () => {
  const arbArrival = fc.record({ n: fc.integer({ min: 1, max: 200 }), out: fc.boolean(), preferred: fc.boolean() });
  fc.assert(
    fc.property(
      fc.uniqueArray(arbArrival, { selector: ({ n }) => n }),
      fc.nat(4),
      fc.nat(4),
      fc.boolean(),
      (all, t, a, strict) => {
        const preferred = only(...all.filter((x) => x.preferred).map((x) => x.n));
        const lists = { inbound: [] as TestPeer[], outbound: [] as TestPeer[] };
        for (const { n, out } of all) {
          const newcomer = peer(n, out ? "weCalledRemote" : "remoteCalledUs");
          const list = out ? lists.outbound : lists.inbound;
          const preferredBefore = list.filter(preferred).length;
          const answer = admit(newcomer, lists, limits(t, a, strict), preferred);
          if (answer.do === "evict") {
            assert.equal(preferred(answer.victim), false);
            list.splice(list.indexOf(answer.victim), 1);
          }
          if (answer.do !== "reject") list.push(newcomer);
          assert.ok(list.filter(preferred).length >= preferredBefore);
          if (strict) assert.ok(list.every(preferred));
          assert.ok(lists.outbound.length <= t && lists.inbound.length <= a);
        }
      },
    ),
  );
});

function accepted(verdict: PendingVerdict): boolean {
  assert.match(verdict.reason, /^[a-z0-9].{10,}[^.]$/);
  if (verdict.do === "refuse") assert.equal(verdict.drop.error, undefined);
  return verdict.do === "accept";
}

const pending = (fields: Partial<InboundPending> = {}): InboundPending => ({
  pendingInbound: 0,
  liveInbound: 0,
  authenticatedInbound: 0,
  shuttingDown: false,
  ...fields,
});

test("scenario: allow inbound pending peers up to max", () => {
  const config = { maxInboundPendingConnections: 3 };
  for (let used = 0; used < 6; used++) {
    const verdict = acceptPending("1.2.3.4", pending({ pendingInbound: used, liveInbound: used }), config, nobody);
    assert.equal(accepted(verdict), used < 3);
    if (verdict.do === "refuse") assert.equal(verdict.drop.reason, "all pending inbound connections are taken");
  }
});

test("scenario: allow inbound pending peers over max if possibly preferred", () => {
  const config = { maxInboundPendingConnections: 3 };
  const preferred = new PreferredPeers([], [{ host: "127.0.0.1", port: 17 }]);
  const at = (ip: string, used: number) =>
    accepted(acceptPending(ip, pending({ pendingInbound: used }), config, (host) => preferred.hasHost(host)));
  assert.deepEqual([2, 3, 4, 5, 6].map((used) => at("127.0.0.1", used)), [true, true, true, false, false]);
  assert.deepEqual([2, 3, 4].map((used) => at("127.0.0.2", used)), [true, false, false]);
});

test("acceptPending counts dropped connections until they are gone", () => {
  const config = { maxInboundPendingConnections: 3 };
  const at = (fields: Partial<InboundPending>) => accepted(acceptPending("1.2.3.4", pending(fields), config, nobody));
  assert.equal(at({ pendingInbound: 0, liveInbound: 13, authenticatedInbound: 10 }), false);
  assert.equal(at({ pendingInbound: 0, liveInbound: 12, authenticatedInbound: 10 }), true);
  assert.equal(at({ pendingInbound: 3, liveInbound: 2, authenticatedInbound: 10 }), false);
  assert.equal(at({ pendingInbound: 0, liveInbound: 0, authenticatedInbound: 10 }), true);
  assert.equal(at({ shuttingDown: true }), false);
});

test("scenario: allow outbound pending peers up to max", () => {
  const config = { maxOutboundPendingConnections: 3 };
  const at = (pendingOutbound: number, shuttingDown = false) => acceptDial({ pendingOutbound, shuttingDown }, config);
  assert.deepEqual([0, 2, 3, 4].map((used) => accepted(at(used))), [true, true, false, false]);
  assert.equal(accepted(at(0, true)), false);
  const verdict = at(3);
  assert.equal(verdict.do === "refuse" && verdict.drop.reason, "all outbound connections taken");
});

test("PreferredPeers knows a peer by its exact address or its node id", () => {
  const set = new PreferredPeers([encodeNodeId(peer(7).nodeId)], [{ host: "10.0.0.1", port: 1 }, {
    host: "::1",
    port: 5,
  }]);
  assert.deepEqual([1, 2, 7].map((n) => set.has(peer(n))), [true, false, true]);
  assert.equal(set.hasAddress({ host: "::1", port: 5 }), true);
  assert.equal(set.hasAddress({ host: "10.0.0.1", port: 2 }), false);
  assert.equal(set.hasAddress(peer(7).address), false);
  assert.deepEqual([set.hasHost("10.0.0.1"), set.hasHost("10.0.0.2")], [true, false]);
  set.setAddresses([{ host: "10.0.0.2", port: 2 }]);
  assert.deepEqual([1, 2, 7].map((n) => set.has(peer(n))), [false, true, true]);
  assert.equal(set.hasHost("10.0.0.1"), false);
  assert.throws(() => new PreferredPeers(["G"]), isFailure("invalid_argument"));
});

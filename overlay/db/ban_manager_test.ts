import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { isFailure, OverlayError } from "../base/errors.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import { type Ban, BanManager } from "./ban_manager.ts";
import { openDatabase } from "./database.ts";
import { migrate, openNodeDatabase } from "./schema.ts";

const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));
const [A, B, C] = [node(1), node(2), node(3)];

async function make(clock = new VirtualClock()) {
  const db = await openDatabase(":memory:");
  migrate(db);
  return { clock, db, bans: new BanManager(db, { clock }), [Symbol.dispose]: () => db.close() };
}

async function inFolder(fn: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ban-manager-"));
  try {
    await fn(join(folder, "x.sqlite"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function invalid(reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isFailure("invalid_argument")(error), String(error));
    assert.match((error as OverlayError).message, reason);
    return true;
  };
}

test("BanManager bans forever, and unbans", async () => {
  using made = await make();
  const { bans, clock } = made;
  assert.equal(bans.banned(A), undefined);
  const ban = bans.ban(A, { reason: "spam" });
  assert.deepEqual(ban, { nodeId: A, untilAt: null, reason: "spam", createdAt: clock.wallMs(), by: "" });
  assert.deepEqual(bans.banned(A), ban);
  assert.deepEqual(bans.banned(A, 8e15), ban);
  assert.equal(bans.banned(B), undefined);
  assert.equal(bans.unban(B), false);
  assert.equal(bans.unban(A), true);
  assert.equal(bans.unban(A), false);
  assert.equal(bans.banned(A), undefined);
  assert.deepEqual(bans.list(), []);
});

test("BanManager ends a timed ban at its instant", async () => {
  using made = await make();
  const { bans, clock, db } = made;
  const untilAt = clock.wallMs() + 60_000;
  bans.ban(A, { untilAt });
  bans.ban(B);
  assert.equal(bans.banned(A, untilAt - 1)?.untilAt, untilAt);
  assert.equal(bans.banned(A, untilAt), undefined);
  await clock.advance(59_999);
  assert.equal(bans.list().length, 2);
  assert.equal(bans.purgeExpired(), 0);
  await clock.advance(1);
  assert.deepEqual(bans.list().map((ban) => ban.nodeId), [B]);
  assert.equal(bans.unban(A), false);
  bans.ban(C, { untilAt: clock.wallMs() + 1 });
  await clock.advance(1);
  assert.equal(bans.purgeExpired(), 1);
  assert.equal(db.prepare("SELECT count(*) AS n FROM ban").get()!.n, 1);
});

test("BanManager never shortens a ban that holds", async () => {
  using made = await make();
  const { bans, clock } = made;
  const now = clock.wallMs();
  bans.ban(A, { untilAt: now + 1000, reason: "first" });
  assert.equal(bans.ban(A, { untilAt: now + 500, reason: "shorter" }).reason, "first");
  assert.equal(bans.ban(A, { untilAt: now + 1000, reason: "same" }).reason, "first");
  assert.equal(bans.ban(A, { untilAt: now + 2000, reason: "longer" }).untilAt, now + 2000);
  await clock.advance(5000);
  assert.equal(bans.ban(A, { untilAt: now + 6000, reason: "again" }).createdAt, now + 5000);
  assert.equal(bans.ban(A, { reason: "forever" }).untilAt, null);
  assert.equal(bans.ban(A, { untilAt: now + 9e9, reason: "timed" }).reason, "forever");
  assert.equal(bans.list().length, 1);
});

test("BanManager refuses what is no node id or no instant", async () => {
  using made = await make();
  const { bans } = made;
  for (
    const text of ["", "x", A.slice(1), A.slice(0, 55) + (A[55] === "A" ? "B" : "A"), A.toLowerCase(), "S" + A.slice(1)]
  ) {
    assert.throws(() => bans.ban(text), invalid(/node id/), text);
  }
  for (const untilAt of [NaN, Infinity, 1e17]) assert.throws(() => bans.ban(A, { untilAt }), invalid(/no instant/));
  assert.equal(bans.unban("x"), false);
  assert.equal(bans.ban(A, { reason: "a\0b" }).reason, "ab");
  assert.equal(bans.list().length, 1);
});

test("BanManager lists bans oldest first, then by node id", async () => {
  using made = await make();
  const { bans, clock } = made;
  bans.ban(C);
  bans.ban(B);
  await clock.advance(10);
  bans.ban(A);
  assert.deepEqual(bans.list().map((ban) => ban.nodeId), [B, C, A]);
});

test("BanManager exports plain data that another one imports", async () => {
  using made = await make();
  using other = await make(made.clock);
  const { bans, clock } = made;
  const now = clock.wallMs();
  bans.ban(A, { reason: "why ü", by: "ops" });
  bans.ban(B, { untilAt: now + 5000 });
  bans.ban(C, { untilAt: now + 10 });
  await clock.advance(10);
  const data = bans.exportBans();
  assert.deepEqual(data[0], {
    nodeId: A,
    until: null,
    reason: "why ü",
    createdAt: "2026-01-01T00:00:00.000Z",
    by: "ops",
  });
  assert.equal(data[1].until, "2026-01-01T00:00:05.000Z");
  assert.equal(data.length, 2);
  const imported = () => other.bans.importBans(JSON.parse(JSON.stringify(data))).map(({ change }) => change);
  assert.deepEqual([imported(), imported()], [["added", "added"], ["kept", "kept"]]);
  assert.deepEqual(other.bans.list(), bans.list());
  assert.deepEqual(other.bans.exportBans(), data);
});

test("BanManager imports what stellar-core's bans command answers", async () => {
  using made = await make();
  const { bans } = made;
  assert.deepEqual(bans.importBans({ bans: null }), []);
  assert.deepEqual(bans.importBans({ bans: [A, B, A] }).map(({ change }) => change), ["added", "added"]);
  assert.deepEqual(bans.list().map(({ nodeId, untilAt, reason }) => [nodeId, untilAt, reason]), [[A, null, ""], [
    B,
    null,
    "",
  ]]);
});

test("BanManager imports all or nothing, and names the entry that is wrong", async () => {
  using made = await make();
  const { bans } = made;
  const table: [unknown, RegExp][] = [
    [[A, "nonsense"], /ban 2/],
    [[A, 7], /ban 2: it is neither/],
    [[A, null], /ban 2: it is neither/],
    [[{ nodeId: A }, {}], /ban 2: it has no nodeId/],
    [[{ nodeId: A, reason: 5 }], /ban 1: its reason/],
    [[{ nodeId: A, until: "soon" }], /ban 1: its time/],
    [[{ nodeId: A, until: 5 }], /ban 1: its time/],
    [[{ nodeId: A, createdAt: "x" }], /ban 1: its time/],
    [[{ nodeId: A, by: 7 }], /ban 1: who made it/],
    ["x", /ban list/],
    [null, /ban list/],
    [{ bans: 5 }, /ban list/],
  ];
  for (const [data, reason] of table) assert.throws(() => bans.importBans(data), invalid(reason), JSON.stringify(data));
  assert.deepEqual(bans.list(), []);
});

test("BanManager tells what an import adds, changes, keeps and finds over; a dry run tells the same and stores nothing", async () => {
  using made = await make();
  const { bans, clock } = made;
  const now = clock.wallMs();
  const at = (ms: number) => new Date(now + ms).toISOString();
  bans.ban(A, { reason: "for ever" });
  bans.ban(B, { untilAt: now + 1000, reason: "short" });
  const data = [
    { nodeId: A, until: at(5000), reason: "timed" },
    { nodeId: B, until: at(2000), reason: "longer", by: "them" },
    { nodeId: C, until: at(500) },
    // Twice in one list: the longer one counts.
    { nodeId: C, until: at(3000) },
    { nodeId: node(4), until: at(-1) },
  ];
  const dry = bans.importBans(data, { by: "me", dryRun: true });
  assert.deepEqual(bans.list().map((ban) => ban.reason), ["for ever", "short"]);
  const real = bans.importBans(data, { by: "me" });
  assert.deepEqual(real, dry);
  assert.deepEqual(
    real.map(({ change, ban, before }) => [change, ban.untilAt && ban.untilAt - now, ban.by, before?.reason]),
    [
      ["kept", null, "", "for ever"],
      ["changed", 2000, "them", "short"],
      ["added", 3000, "me", undefined],
      ["over", -1, "me", undefined],
    ],
  );
  assert.deepEqual(bans.list().length, 3);
  assert.deepEqual(bans.importBans(data).map(({ change }) => change), ["kept", "kept", "kept", "over"]);
  // A ban that is over counts for nothing: the next one is new.
  await clock.advance(3000);
  const again = bans.importBans([{ nodeId: C, until: at(4000) }]);
  assert.deepEqual([again[0].change, again[0].before], ["added", undefined]);
});

test("BanManager keeps bans in the file and sees what another connection changes", () =>
  inFolder(async (path) => {
    const clock = new VirtualClock();
    const network = { networkPassphrase: "Bans ; 2026" };
    {
      using db = await openNodeDatabase(path, network);
      const bans = new BanManager(db, { clock });
      bans.ban(A, { reason: "kept" });
      assert.equal(bans.refresh(), false);

      using otherDb = await openNodeDatabase(path);
      const other = new BanManager(otherDb, { clock });
      assert.equal(other.banned(A)?.reason, "kept");
      other.ban(B);
      assert.equal(bans.banned(B), undefined);
      assert.equal(bans.refresh(), true);
      assert.equal(bans.refresh(), false);
      assert.notEqual(bans.banned(B), undefined);
      other.unban(A);
      assert.equal(bans.refresh(), true);
      assert.equal(bans.banned(A), undefined);
      // A commit to another table is no change of the bans.
      otherDb.exec("INSERT INTO peers (host, port, next_attempt_at, type) VALUES ('1.2.3.4', 1, 0, 0)");
      assert.equal(bans.refresh(), false);
      // Bans of this connection are its own news.
      bans.ban(C);
      assert.equal(bans.refresh(), false);
      assert.equal(other.refresh(), true);
      // The file decides although the map does not know yet.
      bans.unban(C);
      bans.ban(C, { untilAt: clock.wallMs() + 9000 });
      assert.equal(other.ban(C, { untilAt: clock.wallMs() + 5 }).untilAt, clock.wallMs() + 9000);
    }
    using db = await openNodeDatabase(path, { readonly: true });
    const bans = new BanManager(db, { clock });
    assert.deepEqual(bans.list().map((ban) => ban.nodeId), [B, C]);
    assert.throws(() => bans.ban(A), isFailure("db_failed"));
    await assert.rejects(openNodeDatabase(path, { networkPassphrase: "Other" }), /belongs to network 'Bans ; 2026'/);
  }));

test("BanManager looks for changes in microseconds", () =>
  inFolder(async (path) => {
    using db = await openNodeDatabase(path, { networkPassphrase: "n" });
    const bans = new BanManager(db, { clock: new VirtualClock() });
    bans.importBans(Array.from({ length: 200 }, (_, i) => node(i)));
    const startedAt = performance.now();
    for (let i = 0; i < 1000; i++) bans.refresh();
    const elapsedMs = performance.now() - startedAt;
    assert.ok(elapsedMs < 1000, `${elapsedMs} ms for 1000`);
  }));

test("BanManager agrees with a Map under random commands", async () => {
  const arbNode = fc.constantFrom(A, B, C);
  const arbCommand = fc.oneof(
    fc.record({ do: fc.constant("ban" as const), id: arbNode, forMs: fc.option(fc.integer({ min: 1, max: 100 })) }),
    fc.record({ do: fc.constant("unban" as const), id: arbNode }),
    fc.record({ do: fc.constant("advance" as const), ms: fc.nat(60) }),
    fc.record({ do: fc.constant("purge" as const) }),
    fc.record({ do: fc.constant("reopen" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(arbCommand, { maxLength: 30 }), async (commands) => {
      using made = await make();
      const { clock, db } = made;
      let bans = made.bans;
      const model = new Map<string, number>();
      for (const command of commands) {
        const now = clock.wallMs();
        const held = (id: string) => (model.get(id) ?? 0) > now;
        if (command.do === "ban") {
          const untilAt = command.forMs === null ? null : now + command.forMs;
          const ban: Ban = bans.ban(command.id, { untilAt });
          model.set(command.id, Math.max(model.get(command.id) ?? 0, untilAt ?? Infinity));
          assert.equal(ban.untilAt ?? Infinity, model.get(command.id));
        } else if (command.do === "unban") {
          assert.equal(bans.unban(command.id), held(command.id));
          model.delete(command.id);
        } else if (command.do === "advance") await clock.advance(command.ms);
        else if (command.do === "purge") bans.purgeExpired();
        else bans = new BanManager(db, { clock });
        const expected = [A, B, C].filter((id) => (model.get(id) ?? 0) > clock.wallMs());
        assert.deepEqual([A, B, C].filter((id) => bans.banned(id) !== undefined), expected);
        assert.deepEqual(bans.list().map((ban) => ban.nodeId).sort(), expected.sort());
      }
    }),
    { numRuns: 150 },
  );
});

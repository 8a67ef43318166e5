/** `submit` through the program, over real TCP on this machine: a network of validators here, the tool as a process. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TransactionBuilder } from "@stellar/stellar-base";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { EngineWorld } from "../kit/engine_world.ts";
import { runTool, startTool, temporaryFolder } from "../kit/tool.ts";
import { bytesOf, type Made, OTHER, PASSPHRASES, payment, TransactionLedgers } from "../kit/transaction_ledgers.ts";

const folder = temporaryFolder();
const base64 = (made: Made = {}) => Buffer.from(bytesOf(payment(made))).toString("base64");
let sequence = 100;
/** A transaction that was not sent before. */
const fresh = () => payment({ sequence: String(sequence++) });

/** Runs `submit` with a transaction on stdin. */
const submit = (input: string, ...args: string[]) => runTool(["submit", ...args], { input });

describe("submit: a transaction that must not or cannot be sent", () => {
  for (
    const [what, input, args, status, says] of [
      ["nothing", "", [], 1, /no text \(tx_unreadable\)\n {2}hint: /],
      ["bad base64", "AAAA!", [], 1, /'!' .*\(tx_unreadable\)/],
      ["a cut one", base64({}).slice(0, 80), [], 1, /malformed at v1\.tx\.\w+.*: the bytes end.*\(tx_malformed\)/],
      [
        "another network's",
        base64({ passphrase: PASSPHRASES.TESTNET }),
        [],
        1,
        /for testnet, not for local.*\n.*--network testnet/,
      ],
      ["an unsigned one", base64({ signers: [] }), [], 1, /no signature \(tx_unsigned\)/],
      [
        "an expired one",
        base64({ maxTime: 1_500_000_000 }),
        [],
        1,
        /valid until 2017-07-14T02:40:00Z.*\(tx_time_bounds\)/,
      ],
      ["one without a peer", base64({}), [], 2, /no peer to send it through/],
      ["an unknown network", base64({}), ["--network", "tesnet"], 2, /no network of that name/],
      ["a bad peer", base64({}), ["--peer", "x:y"], 2, /--peer/],
    ] as [string, string, string[], number, RegExp][]
  ) {
    test(`${what}: status ${status}`, async () => {
      const { status: ended, out, err } = await submit(input, "--network", "local", ...args);
      assert.equal(ended, status, err);
      assert.match(err, says);
      assert.ok(!out.includes("included"));
    });
  }

  test("on pubnet nothing is sent without --yes where nobody can be asked", async () => {
    const { status, err, out } = await submit(base64({ passphrase: PASSPHRASES.PUBLIC }), "127.0.0.1:1");
    assert.equal(status, 2, "the first argument is a file");
    assert.match(err, /no such file\n.*write '- 127\.0\.0\.1:1'/);
    const asked = await submit(base64({ passphrase: PASSPHRASES.PUBLIC }), "-", "127.0.0.1:1");
    assert.equal(asked.status, 2);
    assert.match(asked.err, /nothing is sent without --yes/);
    assert.match(asked.out, /^network +pubnet\nhash +[0-9a-f]{64}\n/);
    assert.equal(out, "");
  });

  test("--dry-run shows it and sends nothing, as text, as JSON, from a file with comments", async () => {
    const tx = payment(), bump = TransactionBuilder.buildFeeBumpTransaction(OTHER, "400", tx, PASSPHRASES.STANDALONE);
    bump.sign(OTHER);
    const file = join(folder, "bump.txt");
    writeFileSync(file, `# a fee bump\n0x${Buffer.from(bytesOf(bump)).toString("hex")}\n`);
    const text = await runTool(["submit", file, "--network", "local", "--dry-run"]);
    assert.equal(text.status, 0, text.err);
    assert.match(
      text.out,
      new RegExp(`hash +${bump.hash().toString("hex")}\ninner hash +${tx.hash().toString("hex")}`),
    );
    assert.match(text.out, /operations +1: payment\n/);
    assert.match(text.err, /nothing was sent/);
    const json = await runTool(["submit", file, "--network", "local", "--dry-run", "--json"]);
    const document = JSON.parse(json.out);
    assert.deepEqual(
      [document.schema, document.sent, document.outcome, document.transaction.fee, document.transaction.hash],
      ["stellar-overlay/submit/1", false, "not-sent", "800", bump.hash().toString("hex")],
    );
    const refused = await submit(base64({ signers: [] }), "--network", "local", "--json");
    assert.deepEqual([JSON.parse(refused.out).outcome, JSON.parse(refused.out).code], ["invalid", "tx_unsigned"]);
  });

  test("a peer that is down ends it at once, with status 1", async () => {
    const { status, out, err } = await submit(base64(), "--network", "local", "-", "127.0.0.1:1");
    assert.equal(status, 1);
    assert.match(err, /127\.0\.0\.1:1: 127\.0\.0\.1:1 refused the TCP connection/);
    assert.match(out, /\nnot-connected: no peer let us in/);
    assert.match(err, /next: nothing was sent/);
  });
});

describe("submit: on a network of validators over TCP", () => {
  let world: EngineWorld, ledgers: TransactionLedgers, peers: string[], includes = true;
  before(async () => {
    await initPrimitives();
    world = new EngineWorld({ tcp: true });
    const knownPeers = await world.addresses(3);
    for (let i = 0; i < 3; i++) await world.add({ config: { knownPeers, startDelayMs: 50 } });
    await world.until(() => world.nodes.every(({ engine }) => engine.peers().length === 2), "all are connected");
    ledgers = new TransactionLedgers(world, world.nodes, { ledgerMs: 3000, includes: () => includes });
    ledgers.traffic.start();
    peers = world.nodes.map(({ address }) => formatAddress(address));
  });
  after(async () => {
    ledgers.traffic.stop();
    await world[Symbol.asyncDispose]();
  });

  test("it is asked for, included, and found in its ledger: --json and status 0", async () => {
    const tx = fresh();
    const args = ["--network", "local", "--json", "-", ...peers];
    const { status, out, err } = await submit(Buffer.from(bytesOf(tx)).toString("base64"), ...args);
    assert.equal(status, 0, err);
    const document = JSON.parse(out);
    const { advertHash } = document.transaction;
    const [slot] = [...ledgers.included].find(([, hashes]) => hashes.includes(advertHash))!;
    assert.deepEqual(
      [document.outcome, document.ledger.sequence, document.transaction.hash],
      ["included", slot, tx.hash().toString("hex")],
    );
    assert.match(document.ledger.closeTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const asked = document.peers.filter((peer: { demandedMs: number[] }) => peer.demandedMs.length > 0);
    assert.ok(asked.length >= 1);
    assert.deepEqual(
      document.peers.map((peer: { nodeId: string }) => peer.nodeId).sort(),
      world.nodes.map(({ id }) => id).sort(),
    );
    assert.match(err, new RegExp(`^hash ${document.transaction.hash} on local\n`));
    assert.match(err, /asked for it\n/);
    assert.match(err, new RegExp(`ledger ${slot} closed with 1 transaction: ours is one`));
  });

  test("not included in time: status 3, and the text says what is known", async () => {
    includes = false;
    try {
      const { status, out, err } = await submit(
        Buffer.from(bytesOf(fresh())).toString("hex"),
        ...["--network", "local", "--timeout", "7s", "--push", "--peer", peers[0]],
      );
      assert.equal(status, 3, err);
      assert.match(out, /\nnot-included: 1 of 1 peers took it, and it is in none of \d+ ledgers/);
      assert.match(err, /sent to 127\.0\.0\.1:\d+ \(G\w{4}\) unasked/);
      assert.match(err, /next: it may still be included/);
    } finally {
      includes = true;
    }
  });

  test("Ctrl-C prints what is known: status 130", async () => {
    includes = false;
    try {
      const input = Buffer.from(bytesOf(fresh())).toString("base64");
      const run = startTool(["submit", "-", peers[1], "--network", "local", "--json"], { input });
      await run.saw("asked for it");
      run.signal("SIGINT");
      const { status, out } = await run.done;
      assert.equal(status, 130);
      const document = JSON.parse(out);
      assert.deepEqual([document.outcome, document.end], ["not-included", "interrupted"]);
    } finally {
      includes = true;
    }
  });
});

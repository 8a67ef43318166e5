import assert from "node:assert/strict";
import { test } from "node:test";
import { OverlayError } from "../../overlay/base/errors.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { recorded } from "../../tests/kit/core_http_server.ts";
import { UsageError } from "../flags.ts";
import { peersOfText } from "./address_list.ts";

async function read(text: string): Promise<[string, string | undefined][]> {
  const { peers } = await peersOfText(text, "x");
  return peers.map(({ address, type }) => [formatAddress(address), type]);
}

test("peersOfText reads lines, also those of KNOWN_PEERS, with and without the name before them", async () => {
  assert.deepEqual(await read('# a\n1.2.3.4\n  [::1]:5 # b\n"a.example:1",\n'), [
    ["1.2.3.4:11625", undefined],
    ["[::1]:5", undefined],
    ["a.example:1", undefined],
  ]);
  assert.deepEqual(
    await read('KNOWN_PEERS=[\n  "1.2.3.4:1", # GA, 1 ms\n  "b.example"\n]\nPREFERRED_PEERS=["1.2.3.5"]'),
    [
      ["1.2.3.4:1", "outbound"],
      ["b.example:11625", "outbound"],
      ["1.2.3.5:11625", "preferred"],
    ],
  );
});

test("peersOfText reads a configuration with its network, and leaves out what it cannot read, with a warning", async () => {
  const list = await peersOfText(
    'NETWORK_PASSPHRASE="n"\nKNOWN_PEERS=["bad host", "1.2.3.4"]\nNODE_SEED="SNOTSHOWN"'.split("\n").slice(0, 2).join(
      "\n",
    ),
    "core.cfg",
  );
  assert.deepEqual([list.networkPassphrase, list.peers.length, list.warnings.length], ["n", 1, 1]);
});

test("peersOfText reads JSON of a crawl, of stellar-core's peers, and of peers export", async () => {
  const crawl = {
    schema: "stellar-overlay/crawl/1",
    nodes: [{ addresses: ["1.2.3.4:1", "1.2.3.5:1"] }, { addresses: [] }],
  };
  assert.deepEqual(await read(JSON.stringify(crawl)), [["1.2.3.4:1", undefined]]);
  const core = await read(recorded("peers-fullkeys-true.json"));
  assert.ok(core.length > 0 && core.every(([address]) => /^[\d.]+:\d+$/.test(address)), JSON.stringify(core));
  assert.deepEqual(await read('["1.2.3.4", {"address": "1.2.3.5", "type": "preferred"}]'), [
    ["1.2.3.4:11625", undefined],
    ["1.2.3.5:11625", "preferred"],
  ]);
  const at = "2026-01-02T03:04:05.006Z";
  const own = {
    schema: "stellar-overlay/peers/1",
    peers: [
      { address: "1.2.3.4:1", type: "inbound", failures: 7, nextAttemptAt: at },
      { address: "1.2.3.5:1", type: "crawled", failures: 9, nextAttemptAt: null },
    ],
  };
  assert.deepEqual((await peersOfText(JSON.stringify(own), "x")).peers, [
    { address: { host: "1.2.3.4", port: 1 }, type: "inbound", failures: 7, nextAttemptAt: Date.parse(at) },
    { address: { host: "1.2.3.5", port: 1 } },
  ]);
  assert.deepEqual(
    await read("address,type,lastOutcome\r\n1.2.3.4:1,outbound,reachable\r\n1.2.3.5:1,crawled,dead\r\n"),
    [
      ["1.2.3.4:1", "outbound"],
      ["1.2.3.5:1", undefined],
    ],
  );
});

test("peersOfText names the line or the entry that is wrong", async () => {
  const table: [string, RegExp][] = [
    ["1.2.3.4\n1.2.3.4:x", /x line 2: .*the port is not a number/],
    ["address,type\n1.2.3.4:0,inbound", /x line 2: .*port 0/],
    ["{}", /it is JSON, but none that holds addresses/],
    ['{"schema": "stellar-overlay/run/1"}', /none that holds addresses/],
    ["[7]", /entry 1: it has no address/],
    ['[{"address": "a b"}]', /entry 1: cannot parse/],
    ['["1.2.3.4"', /^UsageError: x: /],
  ];
  for (const [text, message] of table) {
    await assert.rejects(
      peersOfText(text, "x"),
      (error: unknown) => error instanceof UsageError && message.test(String(error)),
      text,
    );
  }
  await assert.rejects(
    peersOfText("KNOWN_PEERS=[", "x"),
    (error: unknown) => error instanceof OverlayError && error.code === "config_invalid",
  );
});

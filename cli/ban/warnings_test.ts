import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCoreConfig } from "../../overlay/base/core_config.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { banWarnings } from "./warnings.ts";

const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));

test("banWarnings names whoever is close to us, once, and nobody else", async () => {
  const validator = (n: number, domain: string, address: string) =>
    `[[VALIDATORS]]\nNAME="v${n}"\nPUBLIC_KEY="${node(n)}"\nHOME_DOMAIN="${domain}"\nADDRESS="${address}"\n`;
  const core = await parseCoreConfig(
    `NODE_HOME_DOMAIN="ours"\nPREFERRED_PEERS=["1.2.3.4:1"]\nPREFERRED_PEER_KEYS=["${node(1)} friend"]\n` +
      validator(2, "ours", "1.2.3.5:1") + validator(3, "theirs", "1.2.3.6:1"),
    "core.cfg",
  );
  const around = {
    core,
    config: "core.cfg",
    running: [{ nodeId: node(5), command: "run", pid: 7 }],
    self: node(6),
    nodeAt: (address: string) => address === "1.2.3.4:1" ? node(4) : undefined,
  };
  const said = (n: number) => banWarnings([node(n)], around).map((text) => text.slice(57).replace(/; a ban.*/, ""));
  assert.deepEqual(said(1), ["is one of the PREFERRED_PEER_KEYS of core.cfg"]);
  assert.deepEqual(said(2), ["is validator v2, a preferred peer of core.cfg"]);
  assert.deepEqual(said(3), ["is validator v3 of core.cfg"]);
  assert.deepEqual(said(4), ["was last met at 1.2.3.4:1, a preferred peer of core.cfg"]);
  assert.deepEqual(said(5), ["is the node that runs here (run, process 7)"]);
  assert.deepEqual(said(6), ["is this stellar-core itself"]);
  assert.deepEqual(said(7), []);
  assert.equal(banWarnings([node(1), node(7), node(1)], around).length, 1);
  assert.deepEqual(banWarnings([node(1)], { ...around, core: undefined }), []);
});

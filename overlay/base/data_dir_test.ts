import { test } from "node:test";
import assert from "node:assert/strict";
import { databasePath, dataDir, type DataDirEnv } from "./data_dir.ts";
import { networkIdOf } from "./networks.ts";

const linux: DataDirEnv = { env: {}, home: "/home/a", platform: "linux" };

test("dataDir follows XDG_DATA_HOME, then the platform", () => {
  const cases: [DataDirEnv, string][] = [
    [linux, "/home/a/.local/share/stellar-overlay"],
    [{ ...linux, env: { XDG_DATA_HOME: "/data" } }, "/data/stellar-overlay"],
    [{ ...linux, env: { XDG_DATA_HOME: "" } }, "/home/a/.local/share/stellar-overlay"],
    [{ ...linux, env: { XDG_DATA_HOME: "relative" } }, "/home/a/.local/share/stellar-overlay"],
    [{ ...linux, platform: "freebsd" }, "/home/a/.local/share/stellar-overlay"],
    [{ env: {}, home: "/Users/a", platform: "darwin" }, "/Users/a/Library/Application Support/stellar-overlay"],
    [{ env: { XDG_DATA_HOME: "/d" }, home: "/Users/a", platform: "darwin" }, "/d/stellar-overlay"],
    [{ env: {}, home: "C:\\Users\\a", platform: "win32" }, "C:\\Users\\a\\AppData\\Local\\stellar-overlay"],
    [{ env: { LOCALAPPDATA: "D:\\l" }, home: "C:\\Users\\a", platform: "win32" }, "D:\\l\\stellar-overlay"],
  ];
  for (const [where, expected] of cases) assert.equal(dataDir(where), expected);
});

test("databasePath names the file by network, or by id for a custom one", () => {
  const folder = "/home/a/.local/share/stellar-overlay";
  assert.equal(databasePath("pubnet", linux), `${folder}/pubnet.sqlite`);
  assert.equal(databasePath("Test SDF Network ; September 2015", linux), `${folder}/testnet.sqlite`);
  assert.equal(databasePath("../../etc", linux), `${folder}/${networkIdOf("../../etc").slice(0, 16)}.sqlite`);
});

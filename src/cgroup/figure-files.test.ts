import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseCgroups } from "./cgroup.ts";
import { FigureFiles, type FigureLevel } from "./figure-files.ts";
import { recordedV1, recordedV2 } from "./figures.fixture.ts";

const v1Controllers = ["cpu", "cpuacct", "memory", "pids", "blkio"];
const v1Mounts = v1Controllers.map((name) => `1 1 0:1 / /cg/${name} rw - cgroup cgroup rw,${name}\n`).join("");
const v2Mount = "1 1 0:1 / /cg/unified rw - cgroup2 cgroup2 rw\n";

const hybrid = new FigureFiles(parseCgroups(v1Mounts + v2Mount));
const v1 = new FigureFiles(parseCgroups(v1Mounts));
const v2 = new FigureFiles(parseCgroups(v2Mount));

function parse(files: FigureFiles, texts: Readonly<Record<string, string>>, level: FigureLevel) {
  const wanted = files.of("/pod").files.filter((one) => one.level <= level);
  return files.parse(
    level,
    wanted.map(({ name }) => texts[name]),
  );
}

const line = { total: 0, avg10: 0, avg60: 0, avg300: 0 };
const pressure = {
  cpuPressure: { some: { total: 2_288_507_399, avg10: 70.28, avg60: 61.02, avg300: 31.72 }, full: line },
  memoryPressure: { some: line, full: line },
  ioPressure: {
    some: { total: 201_250_442, avg10: 1.48, avg60: 1.92, avg300: 1.79 },
    full: { total: 100_810_931, avg10: 0.12, avg60: 0.18, avg300: 0.39 },
  },
};

const common = {
  memoryUsage: 729_088,
  memoryLimit: 67_108_864,
  inactiveFile: 24_576,
  anonymous: 253_952,
  cache: 270_336,
  mappedFile: 8_192,
  pageFaults: 207,
  majorPageFaults: 3,
  swapUsage: 4_096,
  swapLimit: 16_777_216,
  tasks: 2,
};

const detailed = {
  cpuPeriods: 12,
  cpuThrottledPeriods: 3,
  cpuThrottledNs: 4_500_000,
  cpuQuotaUs: undefined,
  cpuPeriodUs: 100_000,
  memoryPeak: 1_015_808,
  memoryFailures: 4,
  oomKills: 1,
  tasksLimit: undefined,
  processes: 2,
  devices: [{ device: "8:0", readBytes: 4_096, writeBytes: 10_485_760, reads: 1, writes: 20 }],
};

describe("the figures of a cgroup", () => {
  it("are read from v1 files, with pressure from the v2 hierarchy beside them", () => {
    assert.deepEqual(parse(hybrid, recordedV1, 1), { ...common, ...pressure, cpuUsageNs: 6_976_665 });
    assert.deepEqual(parse(hybrid, recordedV1, 2), {
      ...{ ...common, ...pressure, ...detailed, cpuUsageNs: 6_976_665 },
      ...{ cpuUserNs: 4_000_000, cpuSystemNs: 2_976_665, cpuShares: 102, memoryReservation: undefined },
    });
    assert.deepEqual(parse(v1, recordedV1, 1), { ...common, cpuUsageNs: 6_976_665 });
  });

  it("are read from v2 files", () => {
    assert.deepEqual(parse(v2, recordedV2, 2), {
      ...{ ...common, ...pressure, ...detailed, cpuUsageNs: 6_976_000 },
      ...{ cpuUserNs: 4_000_000, cpuSystemNs: 2_976_000, cpuShares: 81, memoryReservation: 0 },
      devices: [...detailed.devices, { device: "253:1", readBytes: 0, writeBytes: 0, reads: 0, writes: 0 }],
    });
  });

  it("are looked for in each controller's own directory, and only those of level 1 stay open", () => {
    const { directories, files } = hybrid.of("/a/b");
    assert.deepEqual(new Set(directories), new Set([...v1Controllers, "unified"].map((name) => `/cg/${name}/a/b`)));
    assert.ok(files.length <= 24 && files.every(({ level, keep }) => keep === (level === 1)));
    assert.equal(directories[files.find(({ name }) => name === "memory.stat")?.directory ?? -1], "/cg/memory/a/b");
    assert.deepEqual(v2.of("/a").directories, ["/cg/unified/a"]);
  });

  it("are not zero but unknown where a file is missing, and none at all where the cgroup is", () => {
    const { "memory.stat": _, ...others } = recordedV1;
    const figures = parse(hybrid, others, 1);
    assert.equal(figures?.memoryUsage, 729_088);
    assert.ok(figures !== undefined && !("inactiveFile" in figures));
    assert.equal(parse(hybrid, {}, 2), undefined);
  });

  it("know no limit where the kernel writes its largest number", () => {
    const stat = "hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 9223372036854771712\n";
    const figures = parse(v1, { "memory.stat": stat }, 1);
    assert.deepEqual([figures?.memoryLimit, figures?.swapLimit], [undefined, undefined]);
  });

  it("never come out as anything but numbers, whatever the files hold", () => {
    let state = 7;
    const next = (below: number) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    for (let round = 0; round < 3_000; round++) {
      const [files, texts] = round % 2 === 0 ? [hybrid, recordedV1] : [v2, recordedV2];
      const mutated = Object.entries(texts).map(([name, text]) => {
        const bytes = Buffer.from(text.slice(0, next(text.length + 1)));
        for (let i = next(4); i > 0 && bytes.length > 0; i--) bytes[next(bytes.length)] = next(256);
        return [name, bytes.toString("latin1")];
      });
      const figures = parse(files, Object.fromEntries(mutated), 2) ?? {};
      for (const value of Object.values(figures)) {
        assert.ok(typeof value !== "number" || (Number.isFinite(value) && value >= 0), JSON.stringify(figures));
      }
    }
  });
});

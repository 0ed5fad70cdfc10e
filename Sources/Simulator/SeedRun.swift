import Core
package import NodeCore

/// One seed from its draw to its verdict.
package struct SeedRun: Sendable {
    package let seed: UInt64
    package let swarm: Swarm
    package let violation: Violation?
    package let trace: Trace
    package let marks: [CoverageMark: Int]
    /// Batches that count in the end.
    package let counted: Int
    /// Simulated time.
    package let length: Duration
    /// The last events; only of a run that was asked to keep them.
    package let history: [String]
    /// What the nemesis did.
    package let acts: [FaultAct]

    /// Runs a seed. `keepsHistory` changes nothing but what is remembered of it.
    package init(
        seed: UInt64, mutant: Mutant? = nil, schedule: FaultSchedule = .all, keepsHistory: Int = 0
    ) {
        var random = RandomSource(seed: seed)
        var swarm = Swarm(&random, without: schedule.without)
        // The recorded seeds of planted bugs stay the histories that they are.
        if mutant == nil {
            var windowDraw = RandomSource(seed: seed ^ 0x7769_6e64)
            swarm.drawWindow(&windowDraw)
            var indexDraw = RandomSource(seed: seed ^ 0x696e_6465)
            swarm.drawLogIndexes(&indexDraw)
        }
        var parkingDraw = RandomSource(seed: seed ^ 0x616e_79)
        swarm.drawParking(&parkingDraw)
        var forgettingDraw = RandomSource(seed: seed ^ 0x666f_7267)
        swarm.drawForgetting(&forgettingDraw)
        var absenceDraw = RandomSource(seed: seed ^ 0x6177_6179)
        swarm.drawAbsence(&absenceDraw)
        var compactionDraw = RandomSource(seed: seed ^ 0x636f_6d70)
        swarm.drawCompaction(&compactionDraw)
        var releaseDraw = RandomSource(seed: seed ^ 0x7265_6c65)
        swarm.drawRelease(&releaseDraw)
        var retentionDraw = RandomSource(seed: seed ^ 0x7265_7461)
        swarm.drawRetention(&retentionDraw)
        var coldDraw = RandomSource(seed: seed ^ 0x636f_6c64)
        swarm.drawCold(&coldDraw)
        var letterDraw = RandomSource(seed: seed ^ 0x6c65_7474)
        swarm.drawRetirement(&letterDraw)
        var placementDraw = RandomSource(seed: seed ^ 0x706c_6163)
        swarm.drawPlacement(&placementDraw)
        swarm.placement = schedule.placement ?? swarm.placement
        self.seed = seed
        self.swarm = swarm
        var finished: VirtualCluster?
        var found: Violation?
        do throws(Violation) {
            let cluster = try VirtualCluster(
                seed: random.next(), swarm: swarm, schedule: schedule,
                mutants: Set([mutant].compactMap(\.self)))
            if keepsHistory > 0 { cluster.journal = Journal(max: keepsHistory) }
            finished = cluster
            cluster.begin()
            try cluster.run(until: Instant.zero + swarm.chaos)
            try cluster.heal()
            try cluster.conclude()
            try cluster.lie()
        } catch {
            found = error
        }
        violation = found
        trace = finished?.trace ?? Trace()
        marks = finished?.checks.marks ?? [:]
        counted = finished?.checks.final?.members.count ?? 0
        length = (finished?.now ?? .zero) - .zero
        history = finished?.journal?.last ?? []
        acts = finished?.acts ?? []
    }
}

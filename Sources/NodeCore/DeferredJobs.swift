import Core
import Storage

/// Jobs that a full disk refused. They wait and are run again; what they were to write is still in
/// memory or in the log, so nothing is lost by waiting.
struct DeferredJobs {
    struct Job {
        var job: StorageJob
        var purpose: JobPurpose
        var dueAt: Instant
    }

    /// How long a full disk is left alone.
    static let retryAfter: Duration = .seconds(1)

    private var jobs: [Job] = []

    var isEmpty: Bool { jobs.isEmpty }

    var holdsCommit: Bool { jobs.contains(where: \.job.isCommit) }

    mutating func insert(_ job: StorageJob, _ purpose: JobPurpose, dueAt: Instant) {
        jobs.append(Job(job: job, purpose: purpose, dueAt: dueAt))
    }

    /// What may be run now. Edits of the manifest go one at a time and in their order: a later one
    /// must not be undone by an earlier one that had to wait.
    mutating func takeDue(_ now: Instant, isCommitting: Bool) -> [Job] {
        var isCommitting = isCommitting
        var due: [Job] = []
        var rest: [Job] = []
        for job in jobs {
            let mustWait = job.job.isCommit && isCommitting
            if job.job.isCommit { isCommitting = true }
            if job.dueAt <= now, !mustWait { due.append(job) } else { rest.append(job) }
        }
        jobs = rest
        return due
    }
}

extension StorageJob {
    var isCommit: Bool {
        if case .commit = self { true } else { false }
    }

    /// Writes what is also held elsewhere, so that it can be tried again.
    var isRepeatable: Bool {
        switch self {
        case .commit, .writeTables, .writeHistory, .keepAside: true
        case .compact, .abandonCompaction, .series, .scan, .readLog, .removeLogs, .removeTables,
            // Nobody waits for an index.
            .indexLog,
            // What a sweep was to write is there already, in other words.
            .sweepHistory, .verify, .recount, .lookUp,
            .letters, .removeHistory, .copyCells, .copyHistory, .copySealed:
            false
        }
    }
}

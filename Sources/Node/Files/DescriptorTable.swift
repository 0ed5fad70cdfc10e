/// Which file it is, whatever its name: no other has both while this one is there.
struct FileInode: Hashable, Sendable {
    var device: UInt64
    var number: UInt64
}

/// What the pool knows of the files that are referred to, and which of their descriptors is closed
/// next. A value under the pool's lock; it makes no call of the system: what it hands out is to be
/// closed by the caller, when the lock is let go of.
///
/// The next is found as Multics found pages (Corbató, "A paging experiment with the Multics
/// system", 1968): a hand goes around, passes over what was used since it came by last, and takes
/// what was not. That is nearly the least recently used one, and a use needs no more than to set a
/// flag.
///
/// ## Invariants
///
/// 1. `open` counts the descriptors of files that are only read, those that are about to be opened
///    included; it is above `max` only by those that are in use or whose name is gone.
/// 2. A closed file has its name still: before a name goes, its files are opened, and stay open.
struct DescriptorTable {
    struct Entry {
        var path: String
        /// nil while it is written.
        var inode: FileInode?
        var standing: Standing
    }

    enum Standing {
        /// It may be written: its descriptor stays, and does not count. Then `shared`.
        case written
        /// It is only read: with its place in the ring while it is open. Then `apart`.
        case shared(place: Int?)
        /// Its name is gone, or another file's: its descriptor stays for good.
        case apart(isCounted: Bool)
    }

    let max: Int
    private(set) var open = 0
    /// Files that were opened again since the start.
    private(set) var reopened: UInt64 = 0

    private var entries: [ObjectIdentifier: Entry] = [:]
    private var slots: [String: [DescriptorSlot]] = [:]
    /// Shared and open.
    private var ring: [DescriptorSlot] = []
    private var hand = 0
    /// Of files that nobody refers to, to be closed by who comes next; they count.
    private var leftovers: [Int32] = []
    /// Names that are being taken from files now.
    private var leaving: [String: Int] = [:]
    /// Files that are being opened now, by name; and those of which the name went meanwhile.
    private var opening: [String: Int] = [:]
    private var departed: Set<String> = []

    init(max: Int) {
        precondition(max > 0, "a file is read through a descriptor")
        self.max = max
    }

    func entry(of slot: DescriptorSlot) -> Entry? { entries[ObjectIdentifier(slot)] }

    // MARK: - Room

    /// Room for one more, which counts from here on; with what is to be closed for it.
    mutating func reserve() -> [Int32] {
        open += 1
        return takeLeftovers() + shrink()
    }

    /// To be closed.
    mutating func takeLeftovers() -> [Int32] {
        defer { leftovers.removeAll() }
        open -= leftovers.count
        return leftovers
    }

    /// What was reserved was not opened.
    mutating func giveBack() { open -= 1 }

    private mutating func shrink() -> [Int32] {
        var closing: [Int32] = []
        while open > max, let descriptor = closeColdest() { closing.append(descriptor) }
        return closing
    }

    /// To be closed; nil where all are in use.
    mutating func closeColdest() -> Int32? {
        // Once around for those that were used since, once more for them.
        var looksLeft = 2 * ring.count
        while looksLeft > 0 {
            looksLeft -= 1
            if hand >= ring.count { hand = 0 }
            let slot = ring[hand]
            if !slot.cool(), let descriptor = slot.close() {
                removeFromRing(hand)
                entries[ObjectIdentifier(slot)]?.standing = .shared(place: nil)
                open -= 1
                return descriptor
            }
            hand += 1
        }
        return nil
    }

    private mutating func addToRing(_ slot: DescriptorSlot) {
        entries[ObjectIdentifier(slot)]?.standing = .shared(place: ring.count)
        ring.append(slot)
    }

    private mutating func removeFromRing(_ place: Int) {
        let last = ring.removeLast()
        guard place < ring.count else { return }
        ring[place] = last
        entries[ObjectIdentifier(last)]?.standing = .shared(place: place)
    }

    // MARK: - Files

    /// A file is about to be opened, until `endOpening`.
    mutating func beginOpening(_ path: String) { opening[path, default: 0] += 1 }

    /// - Returns: whether its name may be gone by now.
    mutating func endOpening(_ path: String) -> Bool {
        let mayBeGone = leaving[path] != nil || departed.contains(path)
        let others = opening[path, default: 1] - 1
        opening[path] = others > 0 ? others : nil
        if others == 0 { departed.remove(path) }
        return mayBeGone
    }

    /// A file that was opened, between `beginOpening` and `endOpening`, which this is.
    ///
    /// - Parameter inode: of one that is only read, for which there is room; nil for one that is
    ///   written.
    mutating func add(_ slot: DescriptorSlot, path: String, inode: FileInode?) {
        let mayBeGone = endOpening(path)
        entries[ObjectIdentifier(slot)] = Entry(
            path: path, inode: inode,
            standing: mayBeGone ? .apart(isCounted: inode != nil) : .written)
        guard !mayBeGone else { return }
        slots[path, default: []].append(slot)
        if inode != nil { addToRing(slot) }
    }

    /// Nothing more is written to a file. What is to be closed, since it counts from here on.
    mutating func share(_ slot: DescriptorSlot, _ inode: FileInode) -> [Int32] {
        let key = ObjectIdentifier(slot)
        guard let entry = entries[key], case .written = entry.standing, leaving[entry.path] == nil
        else { return [] }
        entries[key]?.inode = inode
        open += 1
        addToRing(slot)
        return shrink()
    }

    /// A closed file was opened again, in room that was reserved.
    ///
    /// - Returns: what the file is read through, entered: another one than `descriptor` where
    ///   somebody was faster. nil where nobody refers to the file any more.
    mutating func refill(_ slot: DescriptorSlot, _ descriptor: Int32) -> Int32? {
        guard let entry = entries[ObjectIdentifier(slot)] else {
            open -= 1
            return nil
        }
        if let other = slot.enter() {
            open -= 1
            return other
        }
        slot.fill(descriptor)
        reopened += 1
        switch entry.standing {
        case .shared: addToRing(slot)
        // It was opened while its name went.
        case .apart: entries[ObjectIdentifier(slot)]?.standing = .apart(isCounted: true)
        case .written: preconditionFailure("what is written is never closed")
        }
        return descriptor
    }

    /// The last reference goes. What is to be closed: now, or with `isLater` by who comes next.
    mutating func end(_ slot: DescriptorSlot, isLater: Bool) -> Int32? {
        guard let entry = entries.removeValue(forKey: ObjectIdentifier(slot)) else {
            preconditionFailure("a file ends once")
        }
        forget(slot, at: entry.path)
        let descriptor = slot.end()
        switch entry.standing {
        case .written, .shared(place: nil), .apart(isCounted: false): break
        case .shared(let place?):
            open -= 1
            removeFromRing(place)
        case .apart(isCounted: true): open -= 1
        }
        guard isLater, let descriptor else { return descriptor }
        open += 1
        leftovers.append(descriptor)
        return nil
    }

    private mutating func forget(_ slot: DescriptorSlot, at path: String) {
        slots[path]?.removeAll { $0 === slot }
        if slots[path]?.isEmpty == true { slots[path] = nil }
    }

    // MARK: - Names

    /// Names are about to be taken from files. The files: they are to be held open until
    /// `endTaking`.
    mutating func beginTaking(_ paths: [String]) -> [DescriptorSlot] {
        for path in paths { leaving[path, default: 0] += 1 }
        return paths.flatMap { slots[$0] ?? [] }
    }

    /// - Parameters:
    ///   - target: the new name of what was renamed; whose it was has lost it.
    ///   - isDone: the system did it.
    mutating func endTaking(_ path: String, to target: String?, isDone: Bool) {
        let names = [path, target].compactMap(\.self)
        for name in names {
            guard let count = leaving[name] else { continue }
            leaving[name] = count > 1 ? count - 1 : nil
        }
        guard isDone else { return }
        departed.formUnion(names.filter { opening[$0] != nil })
        for slot in slots.removeValue(forKey: target ?? path) ?? [] { setApart(slot) }
        guard let target, let moved = slots.removeValue(forKey: path) else { return }
        slots[target] = moved
        for slot in moved { entries[ObjectIdentifier(slot)]?.path = target }
    }

    private mutating func setApart(_ slot: DescriptorSlot) {
        guard let entry = entries[ObjectIdentifier(slot)] else { return }
        switch entry.standing {
        case .apart: return
        case .written: entries[ObjectIdentifier(slot)]?.standing = .apart(isCounted: false)
        // It could not be held open: its readers will hear of it.
        case .shared(place: nil):
            entries[ObjectIdentifier(slot)]?.standing = .apart(isCounted: false)
        case .shared(let place?):
            removeFromRing(place)
            entries[ObjectIdentifier(slot)]?.standing = .apart(isCounted: true)
        }
    }
}

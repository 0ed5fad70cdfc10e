/// Keeps the best `capacity` of all elements offered, in O(n log capacity).
struct BoundedHeap<Element> {
    private var elements: [Element] = []
    private let capacity: Int
    private let isWorse: (Element, Element) -> Bool

    init(capacity: Int, isWorse: @escaping (Element, Element) -> Bool) {
        self.capacity = capacity
        self.isWorse = isWorse
    }

    /// What an element must be better than; nil while there is room for any.
    var worst: Element? { elements.count < capacity ? nil : elements.first }

    mutating func offer(_ element: Element) {
        if elements.count < capacity {
            elements.append(element)
            siftUp(elements.count - 1)
        } else if capacity > 0, isWorse(elements[0], element) {
            elements[0] = element
            siftDown(0)
        }
    }

    /// The best first.
    func descending() -> [Element] {
        elements.sorted { isWorse($1, $0) }
    }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard isWorse(elements[child], elements[parent]) else { return }
            elements.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var worst = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < elements.count {
                if isWorse(elements[child], elements[worst]) { worst = child }
            }
            guard worst != parent else { return }
            elements.swapAt(parent, worst)
            parent = worst
        }
    }
}

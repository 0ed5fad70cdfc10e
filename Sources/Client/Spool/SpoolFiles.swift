/// The few operations on files that a spool rests on. All block. Data is durable after `sync`,
/// names after `syncNames`, and neither before: tests put a disk in their place that forgets.
package protocol SpoolFiles {
    /// Of the files in the directory.
    func names() throws(SpoolError) -> [String]
    func open(_ name: String, creating: Bool) throws(SpoolError) -> any SpoolFile
    func remove(_ name: String) throws(SpoolError)
    func syncNames() throws(SpoolError)
}

package protocol SpoolFile: AnyObject {
    func size() throws(SpoolError) -> Int
    /// Fewer than `count` bytes only where the file ends.
    func read(at offset: Int, count: Int) throws(SpoolError) -> [UInt8]
    func write(_ bytes: [UInt8], at offset: Int) throws(SpoolError)
    func truncate(to size: Int) throws(SpoolError)
    func sync() throws(SpoolError)
}

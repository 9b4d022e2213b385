# DataRows.

cdef inline Py_ssize_t row_end(const unsigned char* data, Py_ssize_t at, Py_ssize_t total, int columns) except -1:
    """The end of the DataRow at `at`, whose head is checked."""
    cdef Py_ssize_t length
    if total - at < 7 or data[at] != 0x44:
        raise ValueError("no whole DataRow")
    length = <Py_ssize_t><unsigned int>big32(data + at + 1)
    if length < 6 or length > total - at - 1:
        raise ValueError("DataRow length")
    if big16(data + at + 5) != columns:
        raise ValueError("DataRow column count")
    return at + 1 + length


cdef inline Py_ssize_t cell_size(const unsigned char* data, Py_ssize_t at, Py_ssize_t end) except -2:
    cdef Py_ssize_t size
    if end - at < 4:
        raise ValueError("DataRow cell length")
    size = big32(data + at)
    if size < -1 or size > end - at - 4:
        raise ValueError("DataRow cell length")
    return size


def count_rows(const unsigned char[::1] frames, int columns):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, size, rows = 0
    cdef int column
    cdef const unsigned char* data
    if not total:
        return 0
    data = &frames[0]
    while at < total:
        end = row_end(data, at, total, columns)
        at += 7
        for column in range(columns):
            size = cell_size(data, at, end)
            at += 4 + (size if size > 0 else 0)
        if at != end:
            raise ValueError("DataRow trailing bytes")
        rows += 1
    return rows


cdef inline void put_length(unsigned char* data, Py_ssize_t length) noexcept nogil:
    data[0] = (length >> 24) & 0xFF
    data[1] = (length >> 16) & 0xFF
    data[2] = (length >> 8) & 0xFF
    data[3] = length & 0xFF


cdef int put_cell(Output* out, object value) except -1:
    """A replaced cell, length included."""
    cdef Py_ssize_t length
    if value is None:
        reserve(out, 4)
        put_length(out.data + out.size, -1)
        out.size += 4
        return 0
    if not PyBytes_CheckExact(value):
        raise TypeError("a cell becomes bytes or None")
    length = PyBytes_GET_SIZE(value)
    reserve(out, length + 4)
    put_length(out.data + out.size, length)
    memcpy(out.data + out.size + 4, PyBytes_AS_STRING(value), length)
    out.size += length + 4
    return 0


cdef inline int put_slice(Output* out, const unsigned char* data, Py_ssize_t begin, Py_ssize_t end) except -1:
    if end > begin:
        reserve(out, end - begin)
        memcpy(out.data + out.size, data + begin, end - begin)
        out.size += end - begin
    return 0


cdef struct Column:
    unsigned char kind  # 0 is not searched
    unsigned char what
    const unsigned char* constant  # with its length in front
    Py_ssize_t size

cdef enum:  # what becomes of a column's cells
    A_KEEP = 0
    A_CONSTANT = 1
    A_CALL = 2


cdef int read_columns(Column* columns, int count, tuple actions, bytes kinds, Output* constants) except -1:
    """`constants` has room for all of them."""
    cdef int index
    cdef Py_ssize_t begin
    cdef object action
    for index in range(count):
        action = None if actions is None else actions[index]
        columns[index].what = A_KEEP
        columns[index].kind = 0
        if action is None:
            columns[index].kind = kinds[index]
        elif action is True or PyBytes_CheckExact(action):
            begin = constants.size
            put_cell(constants, None if action is True else action)
            columns[index].what = A_CONSTANT
            columns[index].constant = constants.data + begin
            columns[index].size = constants.size - begin
        else:
            columns[index].what = A_CALL
    return 0


def sift_rows(bytes frames not None, tuple actions, list counts not None, bytes kinds not None, Sieve sieve not None):
    cdef Py_ssize_t at = 0, total = PyBytes_GET_SIZE(frames), end, size, head, copied, begin, room = 0
    cdef int index, width = <int>PyBytes_GET_SIZE(kinds), verdict
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(frames)
    cdef const unsigned char* cell
    cdef bint rewriting = actions is not None
    cdef Column* columns = NULL
    cdef Column* column
    cdef Py_ssize_t* masked = NULL
    cdef Output out, joined, constants, ends, found
    cdef Places places
    if len(counts) != width:
        raise ValueError("counts and kinds")
    if rewriting:
        if len(actions) != width:
            raise ValueError("actions and kinds")
        for action in actions:
            room += PyBytes_GET_SIZE(action) + 4 if PyBytes_CheckExact(action) else 4
    out.bytes = joined.bytes = constants.bytes = ends.bytes = found.bytes = NULL
    constants.data = ends.data = found.data = NULL
    out.size = constants.size = constants.room = 0
    ends.size = ends.room = found.size = found.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = False
    try:
        columns = <Column*>realloc(NULL, (width + 1) * sizeof(Column))
        masked = <Py_ssize_t*>realloc(NULL, (width + 1) * sizeof(Py_ssize_t))
        if columns == NULL or masked == NULL:
            raise MemoryError()
        reserve(&constants, room)
        read_columns(columns, width, actions, kinds, &constants)
        for index in range(width):
            masked[index] = 0
        if rewriting:
            begin_bytes(&out, total + 64)
        begin_bytes(&joined, total + 64 if sieve.numbers & S_EVERYTHING else 256)
        while at < total:
            end = row_end(data, at, total, width)
            head = out.size
            copied = at
            at += 7
            for index in range(width):
                size = cell_size(data, at, end)
                if size >= 0:
                    column = &columns[index]
                    cell = data + at + 4
                    if column.what:
                        masked[index] += 1
                        put_slice(&out, data, copied, at)
                        if column.what == A_CONSTANT:
                            put_slice(&out, column.constant, 0, column.size)
                        else:
                            put_cell(&out, actions[index](PyBytes_FromStringAndSize(<char*>cell, size)))
                        copied = at + 4 + size
                    elif column.kind and size:
                        verdict = FOLDED
                        if is_text(column.kind):
                            verdict = sieve.look(cell, size, True)
                        if verdict:
                            begin = joined.size
                            if verdict == FOLDED or not put_plain(&joined, cell, size):
                                put_views(&joined, &places, cell, size, column.kind, None)
                                if not sieve.look(joined.data + begin, joined.size - begin, False):
                                    verdict = CLEAN
                                    joined.size = begin
                            if verdict:
                                put_found(&ends, &found, joined.size,
                                          out.size + at - copied if rewriting else at, index)
                    at += size
                at += 4
            if at != end:
                raise ValueError("DataRow trailing bytes")
            if rewriting:
                put_slice(&out, data, copied, end)
                put_length(out.data + head + 1, out.size - head - 1)
        if rewriting:
            for index in range(width):
                if masked[index]:
                    counts[index] += masked[index]
            frames = finish_bytes(&out)
        return frames, finish_bytes(&joined), memoryview(taken(&ends)).cast("i"), memoryview(taken(&found)).cast("i")
    finally:
        drop_bytes(&out)
        drop_bytes(&joined)
        free(ends.data)
        free(found.data)
        free(constants.data)
        free(places.data)
        free(columns)
        free(masked)


cdef inline bytes taken(Output* out):
    return PyBytes_FromStringAndSize(<char*>out.data, out.size)


cdef inline int put_found(Output* ends, Output* found, Py_ssize_t end, Py_ssize_t at, int column) except -1:
    cdef int32_t* numbers
    if end > 0x7FFFFFFF or at > 0x7FFFFFFF:
        raise ValueError("more than 2 GiB at once")
    reserve(ends, 4)
    reserve(found, 8)
    (<int32_t*>(ends.data + ends.size))[0] = <int32_t>end
    numbers = <int32_t*>(found.data + found.size)
    numbers[0] = <int32_t>at
    numbers[1] = column
    ends.size += 4
    found.size += 8
    return 0


cdef inline bint is_text(unsigned char kind) noexcept nogil:
    """What is plain is its own only view."""
    return kind == K_TEXT or kind == K_JSON or kind == K_BYTEA or kind == K_OPAQUE


cdef inline int put_plain(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    """The view of a plain cell, ended by NUL, in one pass; 0 where it is not plain, and then nothing is put."""
    cdef uint64_t word, unlike = 0
    cdef unsigned char* data
    cdef Py_ssize_t at = 0
    reserve(out, size + 1)
    data = out.data + out.size
    while at + 8 <= size:
        word = word_at(cell + at)
        unlike |= (word | equal(word & LOW, ONES * 0x5C)) & HIGH
        memcpy(data + at, cell + at, 8)
        at += 8
    while at < size:
        unlike |= cell[at] & 0x80 or cell[at] == 0x5C
        data[at] = cell[at]
        at += 1
    if unlike:
        return 0
    data[size] = 0
    out.size += size + 1
    return 1


def replace_cells(const unsigned char[::1] frames, list edits):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, head, copied, offset, size
    cdef Py_ssize_t index = 0, count = len(edits)
    cdef const unsigned char* data
    cdef Output out
    if not total:
        return b""
    data = &frames[0]
    out.bytes = NULL
    try:
        begin_bytes(&out, total + 64)
        while at < total:
            if total - at < 7:
                raise ValueError("no whole DataRow")
            size = <Py_ssize_t><unsigned int>big32(data + at + 1)
            if size < 6 or size > total - at - 1:
                raise ValueError("DataRow length")
            end = at + 1 + size
            head = out.size
            copied = at
            while index < count:
                offset = edits[index][0]
                if offset >= end:
                    break
                if offset < copied + (7 if copied == at else 0):
                    raise ValueError("edits out of order")
                size = cell_size(data, offset, end)
                put_slice(&out, data, copied, offset)
                put_cell(&out, edits[index][1])
                copied = offset + 4 + (size if size > 0 else 0)
                index += 1
            put_slice(&out, data, copied, end)
            put_length(out.data + head + 1, out.size - head - 1)
            at = end
        return finish_bytes(&out)
    finally:
        drop_bytes(&out)

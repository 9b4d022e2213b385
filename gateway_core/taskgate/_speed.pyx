# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled module: the few loops that run for every byte. `_speed_py.py` is its equal in Python and its documentation.

Every offset is checked against the buffer before it is read: what stands here runs on bytes from the network.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc, strtod
from libc.string cimport memchr, memcmp, memcpy

from zlib import crc32


def complete_messages(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """How far whole PostgreSQL messages (type byte, 4-byte length that counts itself) reach from `start`.

    Returns the offset behind the last whole message. Raises ValueError on a length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        offset += length + 1
    return offset


def message_runs(const unsigned char[::1] buffer, Py_ssize_t start, Py_ssize_t cap):
    """The whole PostgreSQL messages from `start`, neighbours of one type as one item: (type, start, end, count).

    The last item's end is the offset behind the last whole message (none whole: an empty list). Raises ValueError on a
    length below 4 or above `cap`.
    """
    cdef Py_ssize_t offset = start, total = buffer.shape[0], length, begin = start, count = 0
    cdef int kind = -1
    cdef list runs = []
    while total - offset >= 5:
        length = (<unsigned int>buffer[offset + 1] << 24) | (<unsigned int>buffer[offset + 2] << 16) \
            | (<unsigned int>buffer[offset + 3] << 8) | <unsigned int>buffer[offset + 4]
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        if buffer[offset] != kind:
            if count:
                runs.append((kind, begin, offset, count))
            kind = buffer[offset]
            begin = offset
            count = 0
        count += 1
        offset += length + 1
    if count:
        runs.append((kind, begin, offset, count))
    return runs


# --- growing buffers --------------------------------------------------------------------------------------------------


cdef struct Output:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t room


cdef struct Places:  # where each byte of a view stands in its cell; data is NULL while nobody asks
    int32_t* data
    Py_ssize_t size
    Py_ssize_t room
    bint wanted


cdef int reserve(Output* out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef unsigned char* data
    if out.size + more > out.room:
        room = (out.size + more) * 3 // 2 + 256
        data = <unsigned char*>realloc(out.data, room)
        if data == NULL:
            raise MemoryError()
        out.data = data
        out.room = room
    return 0


cdef int place(Places* places, Py_ssize_t at) except -1:
    cdef Py_ssize_t room
    cdef int32_t* data
    if places.size == places.room:
        room = places.room * 2 + 256
        data = <int32_t*>realloc(places.data, room * sizeof(int32_t))
        if data == NULL:
            raise MemoryError()
        places.data = data
        places.room = room
    places.data[places.size] = <int32_t>at
    places.size += 1
    return 0


cdef inline int put(Output* out, Places* places, unsigned char byte, Py_ssize_t at) except -1:
    """The caller has reserved room in `out`."""
    out.data[out.size] = byte
    out.size += 1
    if places.wanted:
        place(places, at)
    return 0


# --- views of a cell --------------------------------------------------------------------------------------------------

SKIP = 0
TEXT = 1
JSON = 2
JSONB = 3
BYTEA = 4
OPAQUE = 5
INT8 = 6
NUMERIC = 7
FLOAT8 = 8
FLOAT_TEXT = 9
ARRAY = 16

cdef enum:
    K_SKIP = 0
    K_TEXT = 1
    K_JSON = 2
    K_JSONB = 3
    K_BYTEA = 4
    K_OPAQUE = 5
    K_INT8 = 6
    K_NUMERIC = 7
    K_FLOAT8 = 8
    K_FLOAT_TEXT = 9
    K_ARRAY = 16
    MOST_DIGIT_GROUPS = 7


cdef inline int32_t big32(const unsigned char* data) noexcept nogil:
    return <int32_t>((<unsigned int>data[0] << 24) | (<unsigned int>data[1] << 16) \
        | (<unsigned int>data[2] << 8) | <unsigned int>data[3])


cdef inline int big16(const unsigned char* data) noexcept nogil:
    return (data[0] << 8) | data[1]


cdef inline int hex_digit(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    if 65 <= c <= 70:
        return c - 55
    return -1


cdef bint is_ascii(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef uint64_t word, seen = 0
    while at + 8 <= size:
        memcpy(&word, data + at, 8)
        seen |= word
        at += 8
    if seen & <uint64_t>0x8080808080808080:
        return False
    while at < size:
        if data[at] >= 0x80:
            return False
        at += 1
    return True


cdef int folded(const unsigned char* cell, Py_ssize_t left, int* value) noexcept nogil:
    """Length of the UTF-8 sequence that reads as `value` (-1: nothing); 0 where it stands for itself."""
    cdef int b = cell[0], c = 0, d = 0
    if left > 1:
        c = cell[1]
    if b == 0xC2:
        if c == 0xA0:
            value[0] = 0x20
            return 2
        if c == 0xAD:
            value[0] = -1
            return 2
    elif b == 0xCD and c == 0x8F:
        value[0] = -1
        return 2
    elif b == 0xD9 and 0xA0 <= c <= 0xA9:
        value[0] = c - 0xA0 + 48
        return 2
    elif b == 0xDB and 0xB0 <= c <= 0xB9:
        value[0] = c - 0xB0 + 48
        return 2
    if left < 3:
        return 0
    d = cell[2]
    if b == 0xE2:
        if c == 0x80:
            if 0x80 <= d <= 0x8A or d == 0xAF:
                value[0] = 0x20
                return 3
            if 0x8B <= d <= 0x8F or 0xAA <= d <= 0xAE:
                value[0] = -1
                return 3
            if 0x90 <= d <= 0x95:
                value[0] = 0x2D
                return 3
        elif c == 0x81:
            if d == 0x9F:
                value[0] = 0x20
                return 3
            if 0xA0 <= d <= 0xAF:
                value[0] = -1
                return 3
        elif c == 0x88 and d == 0x92:
            value[0] = 0x2D
            return 3
    elif b == 0xE1 and c == 0xA0 and d == 0x8E:
        value[0] = -1
        return 3
    elif b == 0xE3 and c == 0x80 and d == 0x80:
        value[0] = 0x20
        return 3
    elif b == 0xEF:
        if c == 0xBB and d == 0xBF:
            value[0] = -1
            return 3
        if c == 0xBC and 0x81 <= d <= 0xBF:
            value[0] = d - 0x81 + 0x21
            return 3
        if c == 0xBD and 0x80 <= d <= 0x9E:
            value[0] = d - 0x80 + 0x60
            return 3
        if c == 0xB8 and 0x80 <= d <= 0x8F:
            value[0] = -1
            return 3
        if c == 0xB9 and d == 0xA3:
            value[0] = 0x2D
            return 3
        if c == 0xB9 and d == 0xAB:
            value[0] = 0x40
            return 3
    elif b == 0xF0 and left > 3 and c == 0x9D and d == 0x9F and 0x8E <= cell[3] <= 0xBF:
        value[0] = (cell[3] - 0x8E) % 10 + 48
        return 4
    return 0


cdef int code_point(const unsigned char* cell, Py_ssize_t left) noexcept nogil:
    cdef int value = 0, digit, index
    if left < 4:
        return -1
    for index in range(4):
        digit = hex_digit(cell[index])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


cdef int put_code(Output* out, Places* places, int code, Py_ssize_t at) except -1:
    cdef unsigned char sequence[3]
    cdef int length, value = 0, index
    if code < 0x80:
        return put(out, places, code if code else 0x20, at)
    if 0xD800 <= code <= 0xDFFF:
        return put(out, places, 0x3F, at)
    if code < 0x800:
        sequence[0] = 0xC0 | (code >> 6)
        sequence[1] = 0x80 | (code & 0x3F)
        length = 2
    else:
        sequence[0] = 0xE0 | (code >> 12)
        sequence[1] = 0x80 | ((code >> 6) & 0x3F)
        sequence[2] = 0x80 | (code & 0x3F)
        length = 3
    if folded(sequence, length, &value):
        if value >= 0:
            put(out, places, value, at)
        return 0
    for index in range(length):
        put(out, places, sequence[index], at)
    return 0


cdef int fold(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total, bint escapes,
              Py_ssize_t start) except -1:
    """Appends the view without its end; `start` is added to the places."""
    cdef Py_ssize_t at = 0, end
    cdef int length, value = 0, code
    cdef unsigned char byte, follower
    reserve(out, total + 8)
    while at < total:
        byte = cell[at]
        if byte == 0x5C and escapes:
            end = at
            while end < total and cell[end] == 0x5C:
                end += 1
            follower = cell[end] if end < total else 0
            code = code_point(cell + end + 1, total - end - 1) if follower == 0x75 else -1
            if code >= 0:
                put_code(out, places, code, at + start)
                at = end + 5
            elif follower == 110 or follower == 116 or follower == 114 or follower == 98 or follower == 102 \
                    or follower == 118:
                put(out, places, 0x20, at + start)
                at = end + 1
            elif follower == 0x22 or follower == 0x2F or follower == 0x27:
                put(out, places, follower, at + start)
                at = end + 1
            else:
                put(out, places, 0x5C, at + start)
                at = end
            continue
        length = 0
        if byte >= 0x80:
            length = folded(cell + at, total - at, &value)
        if length:
            if value >= 0:
                put(out, places, value, at + start)
            at += length
        else:
            put(out, places, byte, at + start)
            at += 1
    if places.wanted:
        place(places, total + start)
    return 0


cdef int hex_runs(Output* out, Places* places, const unsigned char* cell, Py_ssize_t total) except -1:
    cdef Py_ssize_t at = 0
    cdef int high, low
    reserve(out, total + 8)
    while at + 1 < total:
        if cell[at] != 0x5C or cell[at + 1] != 0x78:
            at += 1
            continue
        at += 2
        while at + 1 < total:
            high = hex_digit(cell[at])
            low = hex_digit(cell[at + 1])
            if high < 0 or low < 0:
                break
            put(out, places, high * 16 + low, at)
            at += 2
        put(out, places, 0x0A, at)
    if places.wanted:
        place(places, total)
    return 0


cdef int put_integer(Output* out, int64_t value) except -1:
    cdef bytes text = b"%d" % value
    reserve(out, 32)
    memcpy(out.data + out.size, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    out.size += PyBytes_GET_SIZE(text)
    return 0


cdef int put_integral(Output* out, double value) except -1:
    if -1e18 < value < 1e18 and value == <double><int64_t>value:
        put_integer(out, <int64_t>value)
    return 0


cdef int put_numeric(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef int groups, weight, sign, index, group, divisor, digit
    cdef bint leading = True
    if size < 8:
        raise ValueError("numeric cell")
    groups = big16(cell)
    weight = big16(cell + 2)
    sign = big16(cell + 4)
    if groups > 32767 or size != 8 + 2 * groups:
        raise ValueError("numeric cell")
    if (sign != 0 and sign != 0x4000) or weight >= MOST_DIGIT_GROUPS:
        return 0
    reserve(out, 4 * MOST_DIGIT_GROUPS + 8)
    for index in range(weight + 1):
        group = big16(cell + 8 + 2 * index) if index < groups else 0
        if group > 9999:
            raise ValueError("numeric cell")
        divisor = 1000
        while divisor:
            digit = group // divisor % 10
            if digit or not leading:
                leading = False
                out.data[out.size] = 48 + digit
                out.size += 1
            divisor //= 10
    return 0


cdef int put_float_text(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef char text[41]
    cdef char* end
    cdef Py_ssize_t index
    cdef double value
    cdef unsigned char c
    if size > 40 or size == 0:
        return 0
    for index in range(size):
        c = cell[index]
        if not (48 <= c <= 57 or c == 43 or c == 45 or c == 46 or c == 69 or c == 101):
            return 0
    memcpy(text, cell, size)
    text[size] = 0
    value = strtod(text, &end)
    if end == text + size:
        put_integral(out, value)
    return 0


cdef int put_float8(Output* out, const unsigned char* cell, Py_ssize_t size) except -1:
    cdef uint64_t bits
    cdef double value
    if size != 8:
        raise ValueError("float8 cell")
    bits = (<uint64_t><unsigned int>big32(cell) << 32) | <uint64_t><unsigned int>big32(cell + 4)
    memcpy(&value, &bits, 8)
    return put_integral(out, value)


cdef int end_view(Output* out, Places* places, Py_ssize_t begin, list found, bint placed) except -1:
    """Ends a view by NUL or, where `found` is a list, moves it there."""
    if found is None:
        reserve(out, 1)
        out.data[out.size] = 0
        out.size += 1
        return 0
    view = PyBytes_FromStringAndSize(<char*>out.data + begin, out.size - begin) if out.size > begin else b""
    if placed:
        found.append((view, memoryview(PyBytes_FromStringAndSize(
            <char*>places.data, places.size * sizeof(int32_t))).cast("i")))
    else:
        found.append((view, None))
    out.size = begin
    places.size = 0
    return 0


cdef int put_views(Output* out, Places* places, const unsigned char* cell, Py_ssize_t size, int kind,
                   list found) except -1:
    """Appends all views of a cell, each ended by NUL; or, where `found` is a list, adds them to it."""
    cdef Py_ssize_t at, length, begin = out.size, start = 0
    cdef int dimensions
    cdef bint escaped
    if kind >= K_ARRAY:
        if size < 12:
            raise ValueError("array cell")
        dimensions = big32(cell)
        if not 0 <= dimensions <= 6:
            raise ValueError("array cell")
        at = 12 + 8 * dimensions
        if at > size:
            raise ValueError("array cell")
        while at < size:
            if size - at < 4:
                raise ValueError("array cell")
            length = big32(cell + at)
            at += 4
            if length < -1 or length > size - at:
                raise ValueError("array cell")
            if length >= 0:
                put_views(out, places, cell + at, length, kind - K_ARRAY, found)
                at += length
        return 0
    if kind >= K_INT8:
        if kind == K_INT8:
            if size != 8:
                raise ValueError("int8 cell")
            put_integer(out, <int64_t>((<uint64_t><unsigned int>big32(cell) << 32)
                                       | <uint64_t><unsigned int>big32(cell + 4)))
        elif kind == K_NUMERIC:
            put_numeric(out, cell, size)
        elif kind == K_FLOAT8:
            put_float8(out, cell, size)
        elif kind == K_FLOAT_TEXT:
            put_float_text(out, cell, size)
        else:
            raise ValueError("kind of cell")
        return end_view(out, places, begin, found, False)
    if kind == K_JSONB:
        if size < 1 or cell[0] != 1:
            raise ValueError("jsonb cell")
        kind = K_JSON
        cell += 1
        size -= 1
        start = 1
    if kind == K_BYTEA and size >= 2 and cell[0] == 0x5C and cell[1] == 0x78:
        hex_runs(out, places, cell, size)
        return end_view(out, places, begin, found, True)
    escaped = size > 0 and memchr(cell, 0x5C, size) != NULL
    if kind != K_JSON or not escaped:
        if (not start or not places.wanted) and is_ascii(cell, size):
            reserve(out, size + 1)
            if size:
                memcpy(out.data + out.size, cell, size)
            out.size += size
            end_view(out, places, begin, found, False)
        else:
            fold(out, places, cell, size, False, start)
            end_view(out, places, begin, found, True)
    if escaped:
        begin = out.size
        fold(out, places, cell, size, True, start)
        end_view(out, places, begin, found, True)
        if kind == K_OPAQUE and has_hex(cell, size):
            begin = out.size
            hex_runs(out, places, cell, size)
            end_view(out, places, begin, found, True)
    return 0


cdef bint has_hex(const unsigned char* cell, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(size - 1):
        if cell[at] == 0x5C and cell[at + 1] == 0x78:
            return True
    return False


def views(bytes cell, int kind):
    cdef Output out
    cdef Places places
    cdef list found = []
    out.data = NULL
    out.size = out.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = True
    try:
        put_views(&out, &places, <const unsigned char*>PyBytes_AS_STRING(cell), PyBytes_GET_SIZE(cell), kind, found)
    finally:
        free(out.data)
        free(places.data)
    return found


def in_strings(const unsigned char[::1] document, list offsets):
    cdef list found = []
    cdef bint inside = False
    cdef Py_ssize_t at = 0, total = document.shape[0], target
    for target in offsets:
        while at < target and at < total:
            if inside and document[at] == 0x5C:
                at += 2
                continue
            if document[at] == 0x22:
                inside = not inside
            at += 1
        found.append(inside and (at > target or at >= total or document[at] != 0x22))
    return found


# --- DataRows ---------------------------------------------------------------------------------------------------------


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


def mask_rows(const unsigned char[::1] frames, tuple actions, list counts):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, size, head, copied
    cdef int column, columns = len(actions)
    cdef const unsigned char* data
    cdef object action, value
    cdef Output out
    if not total:
        return b""
    data = &frames[0]
    out.data = NULL
    out.size = out.room = 0
    cdef Places hits  # how often each column was masked; as int32 a batch cannot overflow
    hits.data = NULL
    hits.size = hits.room = 0
    try:
        for column in range(columns):
            place(&hits, 0)
        reserve(&out, total)
        while at < total:
            end = row_end(data, at, total, columns)
            head = out.size
            copied = at
            at += 7
            for column in range(columns):
                size = cell_size(data, at, end)
                action = actions[column]
                if action is not None and size >= 0:
                    hits.data[column] += 1
                    put_slice(&out, data, copied, at)
                    if action is True:
                        put_cell(&out, None)
                    elif PyBytes_CheckExact(action):
                        put_cell(&out, action)
                    else:
                        put_cell(&out, action(PyBytes_FromStringAndSize(<char*>data + at + 4, size)))
                    copied = at + 4 + size
                at += 4 + (size if size > 0 else 0)
            if at != end:
                raise ValueError("DataRow trailing bytes")
            put_slice(&out, data, copied, end)
            put_length(out.data + head + 1, out.size - head - 1)
        for column in range(columns):
            if hits.data[column]:
                counts[column] += hits.data[column]
        return PyBytes_FromStringAndSize(<char*>out.data, out.size)
    finally:
        free(out.data)
        free(hits.data)


cdef object joined(const unsigned char[::1] frames, bytes kinds, list hits):
    """`join_cells`, or with `hits` `cells_at`: one walk, so that both agree about every offset."""
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, size, before = 0, next_hit = 0, hit_count = 0
    cdef int column, columns = <int>PyBytes_GET_SIZE(kinds)
    cdef const unsigned char* kind = <const unsigned char*>PyBytes_AS_STRING(kinds)
    cdef const unsigned char* data
    cdef Output out
    cdef Places places
    cdef list found = []
    if not total:
        return b"" if hits is None else found
    data = &frames[0]
    out.data = NULL
    out.size = out.room = 0
    places.data = NULL
    places.size = places.room = 0
    places.wanted = False
    if hits is not None:
        hit_count = len(hits)
    try:
        reserve(&out, total)
        while at < total:
            end = row_end(data, at, total, columns)
            at += 7
            for column in range(columns):
                size = cell_size(data, at, end)
                if size > 0:
                    if kind[column]:
                        put_views(&out, &places, data + at + 4, size, kind[column], None)
                        if hits is not None:
                            before += out.size
                            out.size = 0
                            if next_hit < hit_count and <Py_ssize_t>hits[next_hit] < before:
                                found.append((at, size, column))
                                while next_hit < hit_count and <Py_ssize_t>hits[next_hit] < before:
                                    next_hit += 1
                    at += size
                at += 4
            if at != end:
                raise ValueError("DataRow trailing bytes")
        return PyBytes_FromStringAndSize(<char*>out.data, out.size) if hits is None else found
    finally:
        free(out.data)
        free(places.data)


def join_cells(const unsigned char[::1] frames, bytes kinds):
    return joined(frames, kinds, None)


def cells_at(const unsigned char[::1] frames, bytes kinds, list hits):
    return joined(frames, kinds, hits)


def replace_cells(const unsigned char[::1] frames, list edits):
    cdef Py_ssize_t at = 0, total = frames.shape[0], end, head, copied, offset, size
    cdef Py_ssize_t index = 0, count = len(edits)
    cdef const unsigned char* data
    cdef Output out
    if not total:
        return b""
    data = &frames[0]
    out.data = NULL
    out.size = out.room = 0
    try:
        reserve(&out, total)
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
        return PyBytes_FromStringAndSize(<char*>out.data, out.size)
    finally:
        free(out.data)


# --- records ----------------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t put_decimal(unsigned char* data, unsigned long long value) noexcept nogil:
    cdef unsigned char digits[20]
    cdef int count = 0, index
    while True:
        digits[count] = 48 + <unsigned char>(value % 10)
        count += 1
        value //= 10
        if not value:
            break
    for index in range(count):
        data[index] = digits[count - 1 - index]
    return count


cdef inline Py_ssize_t put_text(unsigned char* data, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(data, text, size)
    return size


cdef inline Py_ssize_t put_hex(unsigned char* data, const unsigned char* digest, Py_ssize_t size) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef Py_ssize_t index
    for index in range(size):
        data[2 * index] = digits[digest[index] >> 4]
        data[2 * index + 1] = digits[digest[index] & 15]
    return 2 * size


def record_header(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                  bytes commitment):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(prefix), named = PyBytes_GET_SIZE(kind)
    cdef Py_ssize_t before = PyBytes_GET_SIZE(previous), content = PyBytes_GET_SIZE(commitment), size
    cdef Py_ssize_t room = first + named + 2 * before + 2 * content + 100
    cdef unsigned char* data = <unsigned char*>malloc(room)
    if data == NULL:
        raise MemoryError()
    try:
        size = put_text(data, PyBytes_AS_STRING(prefix), first)
        size += put_decimal(data + size, seq)
        size += put_text(data + size, b',"kind":"', 9)
        size += put_text(data + size, PyBytes_AS_STRING(kind), named)
        size += put_text(data + size, b'","time":', 9)
        size += put_decimal(data + size, time)
        size += put_text(data + size, b',"previous":"', 13)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(previous), before)
        size += put_text(data + size, b'","commitment":"', 16)
        size += put_hex(data + size, <const unsigned char*>PyBytes_AS_STRING(commitment), content)
        size += put_text(data + size, b'"}', 2)
        return PyBytes_FromStringAndSize(<char*>data, size)
    finally:
        free(data)


cdef inline void put_little(unsigned char* data, unsigned int value) noexcept nogil:
    data[0] = value & 0xFF
    data[1] = (value >> 8) & 0xFF
    data[2] = (value >> 16) & 0xFF
    data[3] = (value >> 24) & 0xFF


def record_frame(bytes header, bytes sealed):
    cdef Py_ssize_t first = PyBytes_GET_SIZE(header), second = PyBytes_GET_SIZE(sealed)
    cdef Py_ssize_t size = 3 + first + second
    cdef bytes frame
    cdef unsigned char* data
    if first > 0xFFFF:
        raise OverflowError("header length")
    frame = PyBytes_FromStringAndSize(NULL, 8 + size)
    data = <unsigned char*>PyBytes_AS_STRING(frame)
    data[8] = 0x52
    data[9] = first & 0xFF
    data[10] = (first >> 8) & 0xFF
    memcpy(data + 11, PyBytes_AS_STRING(header), first)
    memcpy(data + 11 + first, PyBytes_AS_STRING(sealed), second)
    put_little(data, <unsigned int>size)
    put_little(data + 4, <unsigned int>crc32(PyMemoryView_FromMemory(<char*>data + 8, size, PyBUF_READ)))
    return frame


def seal_record(bytes prefix, unsigned long long seq, bytes kind, unsigned long long time, bytes previous,
                bytes plaintext, sha256, encrypt):
    cdef unsigned char nonce[12]
    cdef int index
    cdef bytes header = record_header(prefix, seq, kind, time, previous, sha256(plaintext).digest())
    for index in range(12):
        nonce[index] = 0 if index < 4 else (seq >> (8 * (11 - index))) & 0xFF
    sealed = encrypt(PyBytes_FromStringAndSize(<char*>nonce, 12), plaintext, None)
    return record_frame(header, sealed), sha256(header).digest()


# --- exchanges --------------------------------------------------------------------------------------------------------

cdef bytes DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
cdef bytes EXECUTE_SYNC = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
cdef enum:
    LONGEST_EXCHANGE = 4096


cdef Py_ssize_t put_skeleton(unsigned char* out, const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """-1: it has none. `out` has room for `size` bytes."""
    cdef Py_ssize_t at = 0, end, written = 0
    cdef unsigned char c, before
    while at < size:
        c = text[at]
        if c == 0x27 or c == 0x22 or c == 0x60 or c == 0x24 or c == 0x5C or c == 0x3B:
            return -1
        if (c < 0x20 and c != 0x09 and c != 0x0A and c != 0x0D) or c > 0x7E:
            return -1
        if at + 1 < size and ((c == 0x2D and text[at + 1] == 0x2D) or (c == 0x2F and text[at + 1] == 0x2A)):
            return -1
        if 48 <= c <= 57 and at > 0:
            before = text[at - 1]
            if before == 0x20 or before == 0x09 or before == 0x0A or before == 0x0D or before == 0x3D \
                    or before == 0x3C or before == 0x3E or before == 0x28 or before == 0x2C:
                end = at + 1
                while end < size and 48 <= text[end] <= 57:
                    end += 1
                if end - at <= 18 and (
                    end == size or text[end] == 0x20 or text[end] == 0x09 or text[end] == 0x0A or text[end] == 0x0D
                    or text[end] == 0x29 or text[end] == 0x2C
                ):
                    out[written] = 48
                    written += 1
                    at = end
                    continue
        out[written] = c
        written += 1
        at += 1
    return written


def skeleton(bytes text):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text), written
    cdef unsigned char* out = <unsigned char*>malloc(size + 1)
    if out == NULL:
        raise MemoryError()
    try:
        written = put_skeleton(out, <const unsigned char*>PyBytes_AS_STRING(text), size)
        return None if written < 0 else PyBytes_FromStringAndSize(<char*>out, written)
    finally:
        free(out)


cdef object query_key(const unsigned char* data, Py_ssize_t total):
    cdef unsigned char out[LONGEST_EXCHANGE]
    cdef Py_ssize_t end, written
    if <Py_ssize_t><unsigned int>big32(data + 1) != total - 1 or memchr(data + 5, 0, total - 5) != data + total - 1:
        return None
    end = total - 2 if data[total - 2] == 0x3B else total - 1
    written = put_skeleton(out + 1, data + 5, end - 5)
    if written < 0:
        return b"q" + PyBytes_FromStringAndSize(<char*>data + 5, total - 6), []
    out[0] = 0x51
    if end < total - 1:
        out[1 + written] = 0x3B
        written += 1
    return PyBytes_FromStringAndSize(<char*>out, 1 + written), []


def exchange_key(bytes batch):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(batch), at = 0, size, end, name, count_at, position, length, kept
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(batch)
    cdef const void* found
    cdef int formats, count, index
    cdef list parameters
    cdef bytes key
    cdef char* out
    if 6 <= total <= LONGEST_EXCHANGE and data[0] == 0x51:
        return query_key(data, total)
    if total < 22 or total > LONGEST_EXCHANGE or memcmp(data + total - 15, PyBytes_AS_STRING(EXECUTE_SYNC), 15) != 0:
        return None
    if data[0] == 0x50:
        size = <Py_ssize_t><unsigned int>big32(data + 1)
        if size > total - 1:
            return None
        at = 1 + size
    if total - at < 22 or data[at] != 0x42:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 12 or end > total - 15:
        return None
    if end != total - 15 and (
        end != total - 22 or memcmp(data + end, PyBytes_AS_STRING(DESCRIBE_PORTAL), 7) != 0
    ):
        return None
    if data[at + 5] != 0:
        return None
    found = memchr(data + at + 6, 0, end - at - 6)
    if found == NULL:
        return None
    name = <const unsigned char*>found - data
    if end - name < 5:
        return None
    formats = big16(data + name + 1) & 0xFFFF
    count_at = name + 3 + 2 * formats
    if formats > 0x7FFF or end - count_at < 2:
        return None
    count = big16(data + count_at) & 0xFFFF
    if count > 0x7FFF:
        return None
    position = count_at + 2
    parameters = []
    for index in range(count):
        if end - position < 4:
            return None
        length = big32(data + position)
        position += 4
        if length == -1:
            parameters.append(None)
            continue
        if length < 0 or length > end - position:
            return None
        parameters.append(PyBytes_FromStringAndSize(<char*>data + position, length))
        position += length
    kept = count_at + 2 - (at + 5)
    key = PyBytes_FromStringAndSize(NULL, at + 1 + kept + total - position)
    out = PyBytes_AS_STRING(key)
    memcpy(out, data, at + 1)
    memcpy(out + at + 1, data + at + 5, kept)
    memcpy(out + at + 1 + kept, data + position, total - position)
    return key, parameters


def exchange_reply(bytes reply, bytes opening, int columns):
    cdef Py_ssize_t total = PyBytes_GET_SIZE(reply), at = PyBytes_GET_SIZE(opening), size, end, position, length
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(reply)
    cdef Py_ssize_t rows = 0
    cdef int count, index
    if total < at or memcmp(data, PyBytes_AS_STRING(opening), at) != 0:
        return None
    while total - at >= 7 and data[at] == 0x44:
        size = <Py_ssize_t><unsigned int>big32(data + at + 1)
        end = at + 1 + size
        if size < 6 or end > total:
            return None
        count = big16(data + at + 5) & 0xFFFF
        if columns < 0:
            columns = count
        if count != columns:
            return None
        position = at + 7
        for index in range(count):
            if end - position < 4:
                return None
            length = big32(data + position)
            position += 4
            if length < -1 or length > end - position:
                return None
            if length > 0:
                position += length
        if position != end:
            return None
        rows += 1
        at = end
    if total - at < 12 or data[at] != 0x43:
        return None
    size = <Py_ssize_t><unsigned int>big32(data + at + 1)
    end = at + 1 + size
    if size < 5 or end != total - 6 or data[end - 1] != 0 or memchr(data + at + 5, 0, end - 1 - at - 5) != NULL:
        return None
    if memcmp(data + end, b"Z\x00\x00\x00\x05", 5) != 0 or data[end + 5] not in (0x49, 0x54, 0x45):
        return None
    return at, rows, PyBytes_FromStringAndSize(<char*>data + at + 5, end - 1 - at - 5), data[end + 5]

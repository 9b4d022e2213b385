# The sieve.
#
# Eight bytes at a time in a word, then 64 in masks of one bit a byte. All shapes are shorter than 16 bytes, so blocks of
# 64 that overlap by 16 see each as a whole, with the byte before it.

CARD = 1
SSN = 2
IBAN = 4
EVERYTHING = 8

cdef enum:
    S_CARD = 1
    S_SSN = 2
    S_IBAN = 4
    S_EVERYTHING = 8
    SHORTEST_NUMBER = 11
    BLOCK = 64
    STEP = 48
    MOST_BEGINNINGS = 8
    LUHN_MOST = 19

cdef enum:  # what a view is
    CLEAN = 0
    CANDIDATE = 1
    FOLDED = 2  # not ASCII, or with a backslash in it: what is to be searched is another view

cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t HIGH = 0x8080808080808080
cdef uint64_t LOW = 0x7F7F7F7F7F7F7F7F


cdef inline uint64_t word_at(const unsigned char* data) noexcept nogil:
    """Little-endian on every machine; compilers make one load of it."""
    return <uint64_t>data[0] | <uint64_t>data[1] << 8 | <uint64_t>data[2] << 16 | <uint64_t>data[3] << 24 \
        | <uint64_t>data[4] << 32 | <uint64_t>data[5] << 40 | <uint64_t>data[6] << 48 | <uint64_t>data[7] << 56


cdef inline uint64_t some_at(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    """Fewer than eight bytes, NUL behind them."""
    cdef uint64_t word = 0
    cdef Py_ssize_t index
    for index in range(size):
        word |= <uint64_t>data[index] << (8 * index)
    return word


cdef inline uint64_t equal(uint64_t low, uint64_t repeated) noexcept nogil:
    """The high bit of each byte that is this one; `low`: without high bits."""
    return ~((low ^ repeated) + LOW) & HIGH


cdef inline uint64_t bits(uint64_t high) noexcept nogil:
    """One bit a byte, from the high bits."""
    return ((high >> 7) * <uint64_t>0x0102040810204080) >> 56


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return 48 <= c <= 57


cdef inline bint is_joint(unsigned char c) noexcept nogil:
    return c == 0x20 or c == 0x2D


cdef inline bint is_word(unsigned char c) noexcept nogil:
    return 48 <= c <= 57 or 97 <= (c | 0x20) <= 122


cdef inline int bit_count(uint64_t mask) noexcept nogil:
    cdef int count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


cdef inline Py_ssize_t lowest(uint64_t mask) noexcept nogil:
    """The number of the lowest bit that is set."""
    cdef Py_ssize_t at = 0
    while not mask & 1:
        mask >>= 1
        at += 1
    return at


cdef bint card_at(const unsigned char* view, Py_ssize_t size, Py_ssize_t start) noexcept nogil:
    """`start` is a digit. Twelve digits with at most three joints between two; if they stand together, no more than 19
    and with the right check digit."""
    cdef Py_ssize_t at = start, index
    cdef int digits, joints, value, total
    if view[start] < 50 or view[start] > 54 or (start and is_digit(view[start - 1])):
        return False
    while at < size and is_digit(view[at]):
        at += 1
        if at - start > LUHN_MOST:
            return True
    digits = <int>(at - start)
    joints = 0
    index = at
    while index < size:
        if is_digit(view[index]):
            if digits >= 12:
                return True
            joints = 0
            digits += 1
        elif is_joint(view[index]) and joints < 3:
            joints += 1
        else:
            break
        index += 1
    if digits < 12:
        return False
    if digits > at - start:
        return True
    total = 0
    for index in range(at - start):
        value = view[at - 1 - index] - 48
        if index & 1:
            value = value * 2 if value < 5 else value * 2 - 9
        total += value
    return total % 10 == 0


cdef class Sieve:
    """Which views may hold something that is looked for: never false where one does."""

    cdef int numbers
    cdef bint many_marks
    cdef uint64_t mark
    cdef unsigned char marks[256]
    cdef unsigned char lengths[676]  # of IBANs, by country

    def __init__(self, int numbers, bytes marks not None, dict iban_lengths not None):
        cdef int index
        cdef Py_ssize_t count = PyBytes_GET_SIZE(marks), at
        cdef const unsigned char* mark = <const unsigned char*>PyBytes_AS_STRING(marks)
        self.numbers = numbers
        for index in range(256):
            self.marks[index] = 0
        for index in range(676):
            self.lengths[index] = 0
        for at in range(count):
            self.marks[mark[at]] = 1
        self.many_marks = count > 1 or (count == 1 and not 0 < mark[0] < 0x80)
        self.mark = mark[0] * ONES if count and not self.many_marks else 0
        for country, length in iban_lengths.items():
            index = (ord(country[0]) - 65) * 26 + ord(country[1]) - 65
            if not 0 <= index < 676:
                raise ValueError("country")
            self.lengths[index] = length

    def passes(self, bytes view not None):
        return self.look(<const unsigned char*>PyBytes_AS_STRING(view), PyBytes_GET_SIZE(view), False) == CANDIDATE

    cdef int look(self, const unsigned char* view, Py_ssize_t size, bint as_it_stands) noexcept nogil:
        """`as_it_stands`: the view is a cell that only reads so while it is ASCII without a backslash."""
        cdef Py_ssize_t base = 0, at, width, index
        cdef uint64_t word, low, digits, joints, letters, both, found, high = 0, marked = 0, place
        cdef bint small = size < SHORTEST_NUMBER
        cdef int beginnings = 0, countries = 0
        if self.numbers & S_EVERYTHING:
            return CANDIDATE
        if self.many_marks:
            for at in range(size):
                marked |= self.marks[view[at]]
            if marked:
                return CANDIDATE
        while True:
            width = size - base if size - base < BLOCK else BLOCK
            digits = joints = letters = 0
            at = 0
            while at < width:
                word = word_at(view + base + at) if width - at >= 8 else some_at(view + base + at, width - at)
                low = word & LOW
                high |= word & HIGH
                if as_it_stands:
                    high |= equal(low, ONES * 0x5C)
                if self.mark:
                    marked |= equal(low, self.mark) & ~word
                if not small:
                    digits |= bits((low + ONES * 0x50) & ~(low + ONES * 0x46) & ~word & HIGH) << at
                    joints |= bits((equal(low, ONES * 0x20) | equal(low, ONES * 0x2D)) & ~word) << at
                    low |= ONES * 0x20
                    letters |= bits((low + ONES * 0x1F) & ~(low + ONES * 0x05) & ~word & HIGH) << at
                at += 8
            if marked:
                return CANDIDATE
            if high and as_it_stands:
                return FOLDED
            if digits:
                found = self.beginnings(view, size, base, digits, joints, letters, &beginnings, &countries)
                if found:
                    return CANDIDATE
            if base + BLOCK >= size:
                return CLEAN
            base += STEP

    cdef bint beginnings(self, const unsigned char* view, Py_ssize_t size, Py_ssize_t base, uint64_t digits,
                         uint64_t joints, uint64_t letters, int* cards, int* countries) noexcept nogil:
        """Whether a number that is looked for begins in the part of this block that is its own."""
        cdef uint64_t found, own = ~<uint64_t>0, run
        cdef Py_ssize_t at
        # A shape that begins at the first byte of a later block, or among its last ones, is whole in its neighbour.
        if base:
            own &= ~<uint64_t>1
        if base + BLOCK < size:
            own &= (<uint64_t>1 << (STEP + 1)) - 1
        if self.numbers & S_CARD:
            run = joints & joints >> 1
            run = (digits | joints) & ~(run & run >> 2)
            run &= run >> 1
            run &= run >> 2
            found = run & run >> 4 & run >> 8 & digits & own
            if found:
                cards[0] += bit_count(found)
                if cards[0] > MOST_BEGINNINGS:
                    return True
                while found:
                    at = lowest(found)
                    found &= found - 1
                    if card_at(view, size, base + at):
                        return True
        if self.numbers & S_SSN:
            run = digits & digits >> 1
            found = run & digits >> 2 & joints >> 3 & run >> 4 & joints >> 6 & run >> 7 & run >> 9 & own
            while found:
                at = lowest(found)
                found &= found - 1
                if view[base + at] <= 56:
                    return True
        if self.numbers & S_IBAN:
            found = letters & letters >> 1 & digits >> 2 & digits >> 3 & ~((letters | digits) << 1) & own
            if found:
                countries[0] += bit_count(found)
                if countries[0] > MOST_BEGINNINGS:
                    return True
                while found:
                    at = lowest(found)
                    found &= found - 1
                    if self.iban_at(view, size, base + at):
                        return True
        return False

    cdef bint iban_at(self, const unsigned char* view, Py_ssize_t size, Py_ssize_t start) noexcept nogil:
        """As long as the country's are, single joints aside, and not the beginning of something longer."""
        cdef Py_ssize_t at = start
        cdef int left = self.lengths[((view[start] | 0x20) - 97) * 26 + (view[start + 1] | 0x20) - 97]
        if not left:
            return False
        while left and at < size:
            if not is_word(view[at]):
                if not is_joint(view[at]) or at + 1 >= size or not is_word(view[at + 1]):
                    return False
                at += 1
            at += 1
            left -= 1
        return not left and not (at < size and is_word(view[at]))


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
